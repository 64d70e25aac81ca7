// Package structure holds the tests that keep the repository's shape: who may import whom, which library is used where, and that STRUCTURE.md
// tells of the folders that there are.
package structure
