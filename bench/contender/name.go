package contender

import (
	"fmt"
	"os"
	"sync/atomic"
)

// RunName is what the names of all that this run makes begin with: cgroups, apps
// and, after sockdist-, folders. It has the process's number, by which the next
// run finds what this one leaves if it is killed.
func RunName() string { return fmt.Sprintf("bench-%d", os.Getpid()) }

// Folder makes a temporary folder of this run.
func Folder() (string, error) { return os.MkdirTemp("", "sockdist-"+RunName()+"-") }

// apps counts those of this process.
var apps atomic.Int64

// nextApp is a name that no app or attachment of this run has.
func nextApp() string { return fmt.Sprintf("%s-%d", RunName(), apps.Add(1)) }
