package config

import (
	"strconv"
	"strings"
)

func itoa(n int) string { return strconv.Itoa(n) }

// lastOf is the last name of a key: workers of apps.web.workers.
func lastOf(key string) string { return key[strings.LastIndex(key, ".")+1:] }
