package result

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Load reads a file that Save wrote. Its errors are one line, and name the file.
func Load(path string) (*Results, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// decode reads the schema before the rest, as another one's rest may be anything.
func decode(text []byte) (*Results, error) {
	var head struct {
		Schema *int `json:"schema"`
	}
	if err := json.Unmarshal(text, &head); err != nil || head.Schema == nil {
		return nil, errors.New("not a result of bench: no JSON object with a schema")
	}
	if *head.Schema != Schema {
		return nil, fmt.Errorf("has schema %d, this program reads schema %d", *head.Schema, Schema)
	}
	r := new(Results)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("damaged: %w", err)
	}
	return r, nil
}

// Save writes the results as JSON, or leaves the file as it was. The schema is
// set.
func (r *Results) Save(path string) error {
	r.Schema = Schema
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails once it is renamed
	_, err = file.Write(append(text, '\n'))
	err = errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(file.Name(), path)
}
