// Package cpio writes the archive format that the kernel unpacks as its initial
// file system: cpio "newc", uncompressed.
//
// Names are relative paths with forward slashes. Folders that a name needs are
// written before it, once. Every entry belongs to root and is dated 1970, so the
// same content gives the same archive. A file holds less than 4 GiB.
package cpio

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"strings"
)

const (
	typeFolder  = 0o040000
	typeFile    = 0o100000
	typeSymlink = 0o120000

	trailer = "TRAILER!!!"
)

// ErrName is wrapped by the errors for names that the format, or the kernel, can't take.
var ErrName = errors.New("not a usable name in a cpio archive")

// Writer writes one archive. Close ends it; the underlying writer stays open.
type Writer struct {
	w       io.Writer
	inode   uint32
	written map[string]bool
}

// NewWriter starts an archive on w.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: w, written: map[string]bool{}}
}

// Folder writes an empty folder; one that is there already is left as it is.
func (c *Writer) Folder(name string, perm fs.FileMode) error {
	if c.written[name] {
		return nil
	}
	return c.entry(name, typeFolder|uint32(perm.Perm()), 0, strings.NewReader(""))
}

// File writes a regular file with exactly size bytes of r.
func (c *Writer) File(name string, perm fs.FileMode, size int64, r io.Reader) error {
	return c.entry(name, typeFile|uint32(perm.Perm()), size, r)
}

// Symlink writes a symbolic link to target.
func (c *Writer) Symlink(name, target string) error {
	return c.entry(name, typeSymlink|0o777, int64(len(target)), strings.NewReader(target))
}

// Close writes the end mark.
func (c *Writer) Close() error {
	c.inode = 0
	return c.record(trailer, 0, 0, strings.NewReader(""))
}

func (c *Writer) entry(name string, mode uint32, size int64, r io.Reader) error {
	if err := c.check(name, size); err != nil {
		return err
	}
	if parent := path.Dir(name); parent != "." {
		if err := c.Folder(parent, 0o755); err != nil {
			return err
		}
	}
	c.inode++
	c.written[name] = true
	return c.record(name, mode, size, r)
}

func (c *Writer) check(name string, size int64) error {
	if !fs.ValidPath(name) || name == "." || name == trailer || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%q: %w: use a clean relative path", name, ErrName)
	}
	if c.written[name] {
		return fmt.Errorf("%q: %w: it is in the archive already", name, ErrName)
	}
	if size < 0 || size > math.MaxUint32 {
		return fmt.Errorf("%q: %d bytes don't fit a newc header: keep the file under 4 GiB", name, size)
	}
	return nil
}

// record writes header, name and content, the last two padded to four bytes.
func (c *Writer) record(name string, mode uint32, size int64, r io.Reader) error {
	links := 1
	if mode&typeFolder != 0 {
		links = 2
	}
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		c.inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, len(name)+1, 0) + name + "\x00"
	if _, err := io.WriteString(c.w, header+padding(int64(len(header)))); err != nil {
		return fmt.Errorf("write the cpio header of %s: %w", name, err)
	}
	n, err := io.Copy(c.w, io.LimitReader(r, size))
	if err != nil {
		return fmt.Errorf("write %s into the cpio archive: %w", name, err)
	}
	if n != size {
		return fmt.Errorf("write %s into the cpio archive: %d of %d bytes: %w", name, n, size, io.ErrUnexpectedEOF)
	}
	if _, err := io.WriteString(c.w, padding(size)); err != nil {
		return fmt.Errorf("write %s into the cpio archive: %w", name, err)
	}
	return nil
}

func padding(n int64) string {
	return "\x00\x00\x00"[:(4-n%4)%4]
}
