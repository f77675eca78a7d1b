package cgroup

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// ErrSize is wrapped by every error of [ParseSize].
var ErrSize = errors.New("not a size")

var units = map[string]uint64{"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}

// longestNumber bounds what ParseSize computes with. No size that fits into 64
// bits needs more.
const longestNumber = 40

// ParseSize reads a size in bytes: 200M, 1.5G, 1GiB, 4096. The units are powers
// of 1024, as those of systemd and of the kernel; K, M, G and T may be small
// letters, and may be followed by iB. MB and GB are refused, since to some they
// mean powers of 1000. What is left of a byte is dropped. Errors wrap [ErrSize].
func ParseSize(text string) (uint64, error) {
	size, reason := parseSize(text)
	if reason != "" {
		return 0, fmt.Errorf("%q is %w: %s", text, ErrSize, reason)
	}
	return size, nil
}

// parseSize returns the reason why text is no size, or "".
func parseSize(text string) (size uint64, reason string) {
	end := strings.IndexFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(text)
	}
	number, name := text[:end], strings.ToLower(text[end:])

	unit, known := units[strings.TrimSuffix(name, "ib")]
	switch {
	case name == "b" || name == "ib":
		return 0, "write bytes without a unit"
	case !known && units[strings.TrimSuffix(name, "b")] != 0:
		letter := strings.ToUpper(name[:1])
		return 0, fmt.Sprintf("write %s or %siB, which are powers of 1024", letter, letter)
	case !known || number == "":
		return 0, "write a number and K, M, G or T, such as 200M or 1.5G"
	case len(number) > longestNumber:
		return 0, "the number is too long"
	case unit == 1 && strings.Contains(number, "."):
		return 0, "there is no part of a byte"
	}
	return multiply(number, unit)
}

func multiply(number string, unit uint64) (size uint64, reason string) {
	product, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, fmt.Sprintf("%s is no number", number)
	}
	product.Mul(product, new(big.Rat).SetInt(new(big.Int).SetUint64(unit)))
	whole := new(big.Int).Quo(product.Num(), product.Denom())
	if !whole.IsUint64() {
		return 0, "it is more than 64 bits can hold"
	}
	return whole.Uint64(), ""
}
