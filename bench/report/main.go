package report

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/sockdist/sockdist/bench/result"
)

const usage = `bench report FILE... writes what runs of the comparison found as one HTML page,
which needs no network, beside the first file unless -o says where.

  bench report results.json
  bench report -o page.html monday.json tuesday.json
  bench report -markdown results.json      the short table, to standard output
  bench report -table results.json         all tables, for a terminal

`

// An asked is a command line.
type asked struct {
	page            string
	markdown, table bool
	files           []string
}

// Main is the command `bench report`. It returns the exit code: 0 done, 1
// failed, 2 wrong usage.
func Main(args []string, stdout, stderr io.Writer) int {
	a, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := a.run(stdout); err != nil {
		fmt.Fprintf(stderr, "bench report: %v\n", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (a asked, err error) {
	flags := flag.NewFlagSet("bench report", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&a.page, "o", "", "the page's `file`; - is standard output")
	flags.BoolVar(&a.markdown, "markdown", false, "write the short table in Markdown instead")
	flags.BoolVar(&a.table, "table", false, "write the tables of all cases instead")
	if err := flags.Parse(args); err != nil {
		return a, err
	}
	a.files = flags.Args()
	switch {
	case len(a.files) == 0:
		err = errors.New("no file of results is given; -h helps")
	case a.markdown && a.table, (a.markdown || a.table) && a.page != "":
		err = errors.New("only one of -o, -markdown and -table")
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench report: %v\n", err)
	}
	return a, err
}

func (a *asked) run(stdout io.Writer) error {
	runs, err := load(a.files)
	if err != nil {
		return err
	}
	switch {
	case a.markdown:
		return each(runs, func(r *result.Results) error { return Markdown(stdout, r) })
	case a.table:
		return each(runs, func(r *result.Results) error { tables(stdout, r); return nil })
	case a.page == "-":
		return Page(stdout, runs...)
	default:
		return a.write(stdout, runs)
	}
}

// load reads files, and judges them by the rules of this program.
func load(files []string) (runs []*result.Results, err error) {
	for _, file := range files {
		r, err := result.Load(file)
		if err != nil {
			return nil, err
		}
		for i := range r.Cases {
			r.Cases[i].Judge()
		}
		runs = append(runs, r)
	}
	return runs, nil
}

func each(runs []*result.Results, do func(*result.Results) error) error {
	for _, r := range runs {
		if err := do(r); err != nil {
			return err
		}
	}
	return nil
}

func tables(w io.Writer, r *result.Results) {
	for i := range r.Cases {
		Table(w, &r.Cases[i])
		fmt.Fprintln(w)
	}
}

// write puts the page into a file, once it is complete.
func (a *asked) write(stdout io.Writer, runs []*result.Results) error {
	path := a.page
	if path == "" {
		path = strings.TrimSuffix(a.files[0], filepath.Ext(a.files[0])) + ".html"
	}
	var b bytes.Buffer
	if err := Page(&b, runs...); err != nil {
		return err
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		return err
	}
	fmt.Fprintln(stdout, path)
	return nil
}
