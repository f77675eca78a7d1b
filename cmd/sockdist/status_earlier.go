package main

import (
	"fmt"
	"strings"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/attachment"
)

// addEarlier adds what other versions of sockdist steer.
func (s *status) addEarlier(host *loader.Host) error {
	groups, err := attachment.Earlier(host, nil, "")
	for _, g := range groups {
		s.Earlier = append(s.Earlier, earlierStatus{Name: g.Name, Layout: g.Layout, App: g.App})
	}
	return err
}

// earlierLine says that there are such groups, and how to bring them over.
func (s *status) earlierLine(p paint) string {
	var names []string
	attached := false
	for _, g := range s.Earlier {
		names = append(names, printable(g.Name))
		attached = attached || g.App == ""
	}
	how := "start sockdist run again to take it over"
	if attached {
		how = "sockdist attach ADDR takes an attached one over, sockdist run again an app's"
	}
	return p.uneasy(fmt.Sprintf("! %s of another version of sockdist: %s; %s", count(len(names), "group"), strings.Join(names, ", "), how)) + "\n"
}
