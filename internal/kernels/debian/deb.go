package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Names of the files of a kernel inside its packages: the image has moved from
// /boot to the modules' folder in 7.x, which is then below /usr.
var (
	imageFile  = regexp.MustCompile(`^(?:boot/vmlinuz-([^/]+)|(?:usr/)?lib/modules/([^/]+)/vmlinuz)$`)
	moduleFile = regexp.MustCompile(`^(?:usr/)?lib/modules/[^/]+/.+/([^/]+)\.ko(\.xz|\.zst)?$`)
)

// eachFile shows every regular file of a package to visit, by its path without
// "./" in front; visit may read content or not.
func eachFile(ctx context.Context, deb string, visit func(name string, content io.Reader) error) (err error) {
	cmd := command(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	stream, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("unpack %s: %w", deb, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("unpack %s: %w", deb, err)
	}
	defer func() {
		if err != nil {
			cmd.Process.Kill()
			cmd.Wait()
		} else if err = cmd.Wait(); err != nil {
			err = fmt.Errorf("unpack %s: %w: %s", deb, err, firstLine(complaints.String()))
		}
	}()
	for files := tar.NewReader(stream); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			// dpkg-deb must be able to write what pads the archive.
			_, err = io.Copy(io.Discard, stream)
			return err
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w: %s", deb, err, firstLine(complaints.String()))
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if err := visit(strings.TrimPrefix(header.Name, "./"), files); err != nil {
			return err
		}
	}
}
