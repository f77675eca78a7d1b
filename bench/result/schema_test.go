package result

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The page on the schema names every field, and none that isn't there.
func TestSchemaIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../results/README.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := sections(string(text))
	types := map[string]reflect.Type{}
	collect(reflect.TypeFor[Results](), types)
	for name, of := range types {
		want := fields(of)
		if got := documented[name]; !slices.Equal(got, want) {
			t.Errorf("%s has the fields %q, the page says %q", name, want, got)
		}
	}
	for name := range documented {
		if types[name] == nil {
			t.Errorf("the page has a table of %s, which isn't in a file", name)
		}
	}
}

// sections are the fields of each table, by the heading above it.
func sections(page string) map[string][]string {
	field := regexp.MustCompile("`([^`]+)`")
	found := map[string][]string{}
	heading := ""
	for line := range strings.Lines(page) {
		if name, is := strings.CutPrefix(line, "## "); is {
			heading = strings.TrimSpace(name)
		}
		if first, _, is := strings.Cut(strings.TrimPrefix(line, "|"), "|"); is && strings.HasPrefix(line, "| `") {
			for _, match := range field.FindAllStringSubmatch(first, -1) {
				found[heading] = append(found[heading], match[1])
			}
		}
	}
	return found
}

// collect finds the structs that a file is made of.
func collect(of reflect.Type, types map[string]reflect.Type) {
	switch of.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		collect(of.Elem(), types)
	case reflect.Struct:
		if of == reflect.TypeFor[time.Time]() || types[of.Name()] != nil {
			return
		}
		types[of.Name()] = of
		for f := range fieldsOf(of) {
			collect(f.Type, types)
		}
	}
}

func fieldsOf(of reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range of.NumField() {
			if !yield(of.Field(i)) {
				return
			}
		}
	}
}

// fields are the names in JSON.
func fields(of reflect.Type) (names []string) {
	for f := range fieldsOf(of) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}
