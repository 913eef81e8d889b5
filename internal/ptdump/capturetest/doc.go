// Package capturetest is for tests: captures to open, machines made by hand, and a sink that keeps what a walk found.
package capturetest
