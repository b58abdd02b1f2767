// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// file appends SNS's envelope to a file, one line each. It opens the file anew
// each time, so that it may be renamed away at any time.
type file struct {
	path string
	mu   sync.Mutex
}

func (f *file) check(context.Context, string) error { return f.append(nil) }

func (f *file) publish(_ context.Context, m message) error {
	b, err := m.envelope()
	if err != nil {
		return err
	}
	return f.append(append(b, '\n'))
}

// append makes the file if it is not there, and has the line on disk when it
// returns.
func (f *file) append(line []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	// Opening a pipe would wait for its reader.
	if st, err := os.Lstat(f.path); err == nil && !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", f.path)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at the file: %w", err)
	}
	w, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the file: %w", err)
	}
	defer w.Close()
	st, err := w.Stat()
	if err != nil {
		return fmt.Errorf("look at the file: %w", err)
	}
	if len(line) == 0 {
		return nil
	}
	if st.Size() == 0 {
		if err := syncDir(filepath.Dir(f.path)); err != nil {
			return err
		}
	} else {
		// A write that was cut short must not spoil this line too.
		last := make([]byte, 1)
		if _, err := w.ReadAt(last, st.Size()-1); err != nil {
			return fmt.Errorf("read the file's end: %w", err)
		}
		if last[0] != '\n' {
			line = append([]byte{'\n'}, line...)
		}
	}
	if _, err := w.Write(line); err != nil {
		return fmt.Errorf("append to the file: %w", err)
	}
	if err := w.Sync(); err != nil {
		return fmt.Errorf("append to the file: %w", err)
	}
	return nil
}

// syncDir makes a new file's name last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open the file's directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync the file's directory: %w", err)
	}
	return nil
}
