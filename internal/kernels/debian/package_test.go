package debian

import (
	"reflect"
	"testing"
)

func TestParsePackage(t *testing.T) {
	const text = `Package: linux-image-7.0-cloud-amd64
Version: 7.0.1-1~bpo1
Depends: dracut | initramfs-tools (>= 0.120), linux-binary-7.0-cloud-amd64 (= 7.0.1-1~bpo1), python3:any
Description: an image
 Depends: not a field

Package: second
Version: 2
`
	want := Package{"linux-image-7.0-cloud-amd64", "7.0.1-1~bpo1", []string{"dracut", "linux-binary-7.0-cloud-amd64", "python3"}}
	got, err := parsePackage(text)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "Package: x\n", "\n" + text} {
		if _, err := parsePackage(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestKernelPart(t *testing.T) {
	for name, want := range map[string]bool{
		"linux-image-6.1.0-1-cloud-amd64": true,
		"linux-binary-7.0-cloud-amd64":    true,
		"linux-modules-7.0-cloud-amd64":   true,
		"linux-base":                      false,
		"initramfs-tools":                 false,
	} {
		if kernelPart.MatchString(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}
