package control

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	ownfolder "github.com/sockdist/sockdist/internal/folder"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// stateVersion is that of the file; what is written by a later one isn't read.
const stateVersion = 1

// State is what a supervisor writes down: for the one that takes over when it
// was killed, and for people.
type State struct {
	Version int    `json:"version"`
	Name    string `json:"name"`
	// Supervisor and Start (clock ticks since boot) are its process.
	Supervisor int      `json:"supervisor"`
	Start      uint64   `json:"start"`
	Command    []string `json:"command"`
	// Configured is the number of workers that it was started with, and Wanted
	// what that became.
	Configured int  `json:"configured"`
	Wanted     int  `json:"wanted"`
	Generation int  `json:"generation"`
	Reloading  bool `json:"reloading"`
	AtOnce     bool `json:"at_once"`

	Workers []WorkerState `json:"workers"`
}

// The stages of a worker.
const (
	StageStarting = "starting" // it isn't ready yet
	StageServing  = "serving"
	StageLeaving  = "leaving" // it finishes its connections
	StageDown     = "down"    // it died, and will be started again
)

// WorkerState is how a worker is.
type WorkerState struct {
	Slot int `json:"slot"`
	// PID and Start (clock ticks since boot) are the main process, or the last one.
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
	// Leaf is the ID of the cgroup in which it was started, another one each
	// time; 0 in what a sockdist wrote that didn't know it.
	Leaf       uint64 `json:"leaf"`
	Generation int    `json:"generation"`
	Stage      string `json:"stage"`
	Newcomer   bool   `json:"newcomer,omitempty"`
	CPU        int    `json:"cpu"` // that it is pinned to, or -1
	// Starts is 1 for a worker that never died.
	Starts int       `json:"starts"`
	Since  time.Time `json:"since"` // of the last start
	// LastExit is how it ended before, if it did.
	LastExit string     `json:"last_exit,omitempty"`
	LastEnd  *time.Time `json:"last_end,omitempty"`
}

// ReadState returns what the supervisor of an app wrote last, in a runtime
// folder, "" for the default. The error wraps fs.ErrNotExist if there is none.
func ReadState(runtimeDir, app string) (*State, error) {
	text, err := os.ReadFile(filepath.Join(appFolder(runtimeDir, app), "state.json"))
	if err != nil {
		return nil, fmt.Errorf("read the state of app %s: %w", app, err)
	}
	state := new(State)
	if err := json.Unmarshal(text, state); err != nil {
		return nil, fmt.Errorf("read the state of app %s: %w", app, err)
	}
	if state.Version != stateVersion {
		return nil, fmt.Errorf("the state of app %s is of version %d, and version %d is known here", app, state.Version, stateVersion)
	}
	return state, nil
}

const controlName = "control"

// Socket returns where the supervisor of an app takes requests.
func Socket(runtimeDir, app string) string {
	return filepath.Join(appFolder(runtimeDir, app), controlName)
}

// WorkersSocket returns where library workers of an app join.
func WorkersSocket(runtimeDir, app string) string {
	return filepath.Join(appFolder(runtimeDir, app), "workers")
}

func appFolder(runtimeDir, app string) string {
	if runtimeDir == "" {
		runtimeDir = DefaultRuntimeDir
	}
	return filepath.Join(runtimeDir, app)
}

// State returns how the app is.
func (s *Supervisor) State() State {
	goal := s.aims()
	state := State{
		Version: stateVersion, Name: s.config.Name, Supervisor: os.Getpid(), Command: s.config.Command,
		Configured: goal.configured, Wanted: goal.workers, Generation: goal.generation,
		Reloading: goal.reloading, AtOnce: goal.atOnce, Workers: []WorkerState{},
	}
	state.Start, _ = sockets.StartTime(state.Supervisor)
	for _, w := range s.crew.all() {
		state.Workers = append(state.Workers, w.state())
	}
	return state
}

func (w *worker) state() WorkerState {
	w.mu.Lock()
	defer w.mu.Unlock()
	state := WorkerState{Slot: w.slot, Generation: w.generation, Newcomer: w.onTrial(), CPU: w.cpu, Starts: w.starts, Stage: StageStarting}
	if w.death != nil {
		state.LastExit, state.LastEnd = w.death.exit.String(), &w.death.at
	}
	if w.life == nil {
		return state
	}
	state.PID, state.Start, state.Since = w.life.process.pid, w.life.process.began, w.life.born
	state.Leaf = w.life.leaf.ID()
	switch {
	case w.isRetired():
		state.Stage = StageLeaving
	case w.life.process.isDone():
		state.Stage = StageDown
	case isClosed(w.life.ready):
		state.Stage = StageServing
	}
	return state
}

// save writes the state down. That it can't, on a full disk for instance, is
// said once; everything else goes on.
func (s *Supervisor) save() {
	s.saving.Lock()
	defer s.saving.Unlock()
	if s.desk == nil || s.desk.folder == "" || s.forgotten {
		return
	}
	s.config.Manager.Status(s.summary())
	err := writeState(appFolder(s.config.RuntimeDir, s.config.Name), s.State())
	switch {
	case err != nil && !s.unsaved:
		s.log.Error(fmt.Sprintf("write the state down: %v; a supervisor that takes over after a crash knows less then", err))
	case err == nil && s.unsaved:
		s.log.Info("the state is written down again")
	}
	s.unsaved = err != nil
}

// forget ends writing the state down.
func (s *Supervisor) forget() {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.forgotten = true
}

// writeState leaves the old file or the new one, never half of it.
func writeState(folder string, state State) error {
	text, err := json.MarshalIndent(state, "", " ")
	if err != nil {
		return err
	}
	return ownfolder.WriteFile(filepath.Join(folder, "state.json"), append(text, '\n'))
}
