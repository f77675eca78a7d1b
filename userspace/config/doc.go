// Package config reads the file of sockdist serve: what is to run, and who may
// say so.
//
// It is strict. What it doesn't know, what is of the wrong type or out of range,
// and what contradicts something else is a [Problem] with line and column, and
// all problems are found in one go. Nothing outside of the file is touched; of
// the machine only the names of its users and groups are asked.
//
// [Run] are the settings of an app as they are written, in the file or on the
// command line of sockdist run: both mean the same, and are read by the same
// parsers.
//
// YAML's anchors, aliases, merge keys and tags are refused. A file has no use
// for them that a person at three in the morning would thank for, and a short
// text could stand for gigabytes.
package config
