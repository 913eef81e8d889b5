#!/bin/sh -e
# Writes the kernels and their declarations, or nothing if the generator fails.
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go build -tags purego -o "$tmp/asm" .
export GOFLAGS=-tags=purego
mkdir "$tmp/kernels" "$tmp/floor"
"$tmp/asm" -out "$tmp/kernels/kernels_amd64.s" -stubs "$tmp/kernels/stubs_amd64.go" -pkg ptescan
"$tmp/asm" -floor -out "$tmp/floor/floor_amd64.s" -stubs "$tmp/floor/floor_amd64.go" -pkg floor
sed -i '1s/command: .*\. DO/command: go generate. DO/' "$tmp"/*/*_amd64.*
mv "$tmp"/kernels/* ..
mv "$tmp"/floor/* ../floor
