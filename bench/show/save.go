package show

import (
	"encoding/json"
	"os"
)

// Save writes results to a file, as JSON for people and programs. Without a path
// it does nothing.
func Save(path string, results any) error {
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
