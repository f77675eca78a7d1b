package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// An AppSpec says what an app's bind hooks do.
type AppSpec struct {
	Name   string   // see CheckName
	Cgroup string   // the app's cgroup v2 folder; the hooks reach every process below it
	Ports  []uint16 // the ports that are shared, at most MaxPorts; none means all
	UDP    bool     // share UDP ports too
}

// An App is the bind hooks of one app, and the events of its sockets. While the
// handle is open, hooks and accounting go on even if their pins are removed: see Lost.
type App struct {
	host   *Host
	name   string
	folder fs.FileInfo // of its pins, to tell it from a later app of the name
	config *ebpf.Map
	events *ebpf.Map
	held   []link.Link
}

type appObjects struct {
	Bind4    *ebpf.Program `ebpf:"bind4"`
	Bind6    *ebpf.Program `ebpf:"bind6"`
	Connect4 *ebpf.Program `ebpf:"connect4"`
	Connect6 *ebpf.Program `ebpf:"connect6"`
	App      *ebpf.Map     `ebpf:"app"`
	Events   *ebpf.Map     `ebpf:"events"`
}

func (o *appObjects) close() {
	closeAll(o.Bind4, o.Bind6, o.Connect4, o.Connect6, o.App, o.Events)
}

// CreateApp attaches the hooks to the app's cgroup. From then on a process in
// it that binds one of the ports shares the port with its siblings; a bind of a
// port on which somebody else listens fails with EADDRINUSE, and is told as an
// event. Errors wrap fs.ErrExist, ErrFull and ErrNotSupported.
func (h *Host) CreateApp(spec AppSpec) (a *App, err error) {
	if err := CheckName(spec.Name); err != nil {
		return nil, err
	}
	defer wrap(&err, "create app %s", spec.Name)
	if len(spec.Ports) > MaxPorts {
		return nil, fmt.Errorf("%d ports, at most %d are possible: %w", len(spec.Ports), MaxPorts, unix.EINVAL)
	}
	unlock, err := h.exclusive()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if names, err := h.Apps(); err != nil {
		return nil, err
	} else if slices.Contains(names, spec.Name) {
		return nil, fs.ErrExist
	}
	maps, err := h.maps()
	if err != nil {
		return nil, err
	}
	defer maps.close()
	path := filepath.Join("apps", spec.Name)
	if err := h.build(path, func(tmp string) error { return h.pinApp(tmp, spec, maps) }); err != nil {
		return nil, errors.Join(err, h.removeIfEmpty())
	}
	return h.openApp(spec.Name)
}

func (h *Host) pinApp(tmp string, spec AppSpec, maps *hostMaps) error {
	var objects appObjects
	if err := load(&objects, map[string]*ebpf.Map{"origins": maps.Origins}); err != nil {
		return err
	}
	defer objects.close()
	index, err := h.freeAppIndex()
	if err != nil {
		return err
	}
	config := abiApp{Name: nameBytes(spec.Name), Id: index + 1, Udp: uint32(flag(spec.UDP)), Ports: uint32(len(spec.Ports))}
	copy(config.Port[:], spec.Ports)
	if err := objects.App.Put(uint32(0), &config); err != nil {
		return err
	}
	if err := maps.Apps.Put(index, objects.Events); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	if err := pinAll(tmp, map[string]pinner{"app": objects.App, "events": objects.Events}); err != nil {
		return err
	}
	return pinHooks(tmp, spec.Cgroup, &objects)
}

var hookNames = []string{"bind4", "bind6", "connect4", "connect6"}

// hooks opens the links that are pinned.
func (a *App) hooks() (hooks []link.Link, err error) { return a.host.hold(a.hookPins()...) }

func (a *App) hookPins() (pins []string) {
	for _, name := range hookNames {
		pins = append(pins, filepath.Join("apps", a.name, name))
	}
	return pins
}

func closeLinks(links []link.Link) {
	for _, l := range links {
		l.Close()
	}
}

func pinHooks(tmp, cgroup string, objects *appObjects) error {
	hooks := []struct {
		name    string
		program *ebpf.Program
		attach  ebpf.AttachType
	}{
		{"bind4", objects.Bind4, ebpf.AttachCGroupInet4Bind},
		{"bind6", objects.Bind6, ebpf.AttachCGroupInet6Bind},
		{"connect4", objects.Connect4, ebpf.AttachCGroupInet4Connect},
		{"connect6", objects.Connect6, ebpf.AttachCGroupInet6Connect},
	}
	for _, hook := range hooks {
		l, err := link.AttachCgroup(link.CgroupOptions{Path: cgroup, Attach: hook.attach, Program: hook.program})
		if err != nil {
			return fmt.Errorf("attach %s to %s: %w", hook.name, cgroup, err)
		}
		err = l.Pin(filepath.Join(tmp, hook.name))
		l.Close()
		if err != nil {
			return fmt.Errorf("pin %s: %w", hook.name, explainPin(err))
		}
	}
	return nil
}

func (h *Host) freeAppIndex() (uint32, error) {
	names, err := h.Apps()
	if err != nil {
		return 0, err
	}
	taken := make(map[uint32]bool)
	for _, name := range names {
		a, err := h.openApp(name)
		if err != nil {
			return 0, err
		}
		config, err := a.read()
		a.Close()
		if err != nil {
			return 0, err
		}
		taken[config.Id-1] = true
	}
	for index := range uint32(MaxApps) {
		if !taken[index] {
			return index, nil
		}
	}
	return 0, fmt.Errorf("%d apps: %w", MaxApps, ErrFull)
}

// App opens an app by name. The error wraps fs.ErrNotExist if there is none.
func (h *Host) App(name string) (a *App, err error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	defer wrap(&err, "open app %s", name)
	return h.openApp(name)
}

func (h *Host) openApp(name string) (*App, error) {
	dir := filepath.Join(h.dir, "apps", name)
	folder, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	config, err := loadMap(filepath.Join(dir, "app"))
	if err != nil {
		return nil, err
	}
	events, err := loadMap(filepath.Join(dir, "events"))
	if err != nil {
		config.Close()
		return nil, err
	}
	a := &App{host: h, name: name, folder: folder, config: config, events: events}
	a.held, err = h.hold(append(a.hookPins(), accountNames()...)...)
	if err == nil {
		err = a.pinned()
	}
	if err != nil { // not some pins of one app and some of another
		a.Close()
		return nil, err
	}
	return a, nil
}

// pinned gives fs.ErrNotExist if the app was removed since it was opened.
func (a *App) pinned() error {
	return stillPinned(a.folder, filepath.Join(a.host.dir, "apps", a.name))
}

// exclusive is Host.exclusive for a change of this app, which must be there still.
func (a *App) exclusive() (unlock func(), err error) {
	if err := a.pinned(); err != nil {
		return nil, err
	}
	unlock, err = a.host.exclusive()
	if err != nil {
		return nil, err
	}
	if err := a.pinned(); err != nil {
		err = errors.Join(err, a.host.removeIfEmpty())
		unlock()
		return nil, err
	}
	return unlock, nil
}

// Name is the app's name.
func (a *App) Name() string { return a.name }

// Close gives the handle up; the hooks stay.
func (a *App) Close() error {
	closeAll(a.config, a.events)
	closeLinks(a.held)
	return nil
}

func (a *App) read() (config abiApp, err error) {
	err = a.config.Lookup(uint32(0), &config)
	return config, err
}

// Spec is what the app was created with, but for its cgroup, which the kernel does not tell.
func (a *App) Spec() (spec AppSpec, err error) {
	config, err := a.read()
	if err != nil {
		return AppSpec{}, fmt.Errorf("app %s: %w", a.name, err)
	}
	ports := config.Port[:min(config.Ports, MaxPorts)]
	return AppSpec{Name: a.name, Ports: slices.Clone(ports), UDP: config.Udp != 0}, nil
}

// Own makes a listening socket one of the app's: a worker can then share its
// port, and its end is told as an event. The bind hooks do this by themselves;
// it is for listeners that are older than the hooks, which would be strangers
// otherwise. It may be repeated.
func (a *App) Own(fd int) (err error) {
	defer wrap(&err, "app %s: own socket", a.name)
	if _, err := checkListener(fd); err != nil {
		return err
	}
	unlock, err := a.exclusive()
	if err != nil {
		return err
	}
	defer unlock()
	maps, err := a.host.pinnedMaps()
	if err != nil {
		return err
	}
	defer maps.close()
	config, err := a.read()
	if err != nil {
		return err
	}
	var origin abiOrigin
	if err := maps.Origins.Lookup(int32(fd), &origin); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("read socket storage: %w", err)
	}
	origin.App, origin.Told = config.Id, 1
	if err := maps.Origins.Put(int32(fd), &origin); err != nil {
		return fmt.Errorf("write socket storage: %w", err)
	}
	return nil
}

// Supervisor is the process that looks after the app's workers, 0 if none was told.
func (a *App) Supervisor() (int, error) {
	config, err := a.read()
	return int(config.Supervisor), err
}

// SetSupervisor notes which process looks after the app's workers.
func (a *App) SetSupervisor(pid int) (err error) {
	defer wrap(&err, "app %s", a.name)
	unlock, err := a.exclusive()
	if err != nil {
		return err
	}
	defer unlock()
	config, err := a.read()
	if err != nil {
		return err
	}
	config.Supervisor = uint32(pid)
	return a.config.Put(uint32(0), &config)
}

// Destroy detaches the hooks and removes the app from the kernel. The handle must not be used any more but for Close.
func (a *App) Destroy() (err error) {
	defer wrap(&err, "remove app %s", a.name)
	unlock, err := a.exclusive()
	if err != nil {
		return err
	}
	defer unlock()
	config, err := a.read()
	if err != nil {
		return err
	}
	hooks, err := a.hooks()
	if err != nil {
		return err
	}
	defer closeLinks(hooks)
	if err := a.host.discard(filepath.Join("apps", a.name)); err != nil {
		return err
	}
	// Without pins they would end too, but at a moment of the kernel's choice.
	for _, hook := range hooks {
		if err := hook.Detach(); err != nil {
			return fmt.Errorf("detach: %w", err)
		}
	}
	maps, err := a.host.pinnedMaps()
	if errors.Is(err, fs.ErrNotExist) {
		return a.host.removeIfEmpty() // the host's pins were removed before
	}
	if err != nil {
		return err
	}
	defer maps.close()
	if err := maps.Apps.Delete(config.Id - 1); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return a.host.removeIfEmpty()
}
