// Package examples has servers that are workers of sockdist, one a folder. They
// are a module of their own, so that the servers that they show aren't
// everybody's dependencies.
package examples
