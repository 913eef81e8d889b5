#!/usr/bin/env bash
# Fetches Debian's kernels, builds the guest, and captures running machines with the
# truth beside them. README.md in this folder says what comes out.
#
#   capture.sh list                 the variants
#   capture.sh prepare [KERNEL ...] kernels and init file systems only (6.1, 6.12 and 7.2 when none is named)
#   capture.sh run [VARIANT ...]    captures (the linux-* ones when none is named; procs- is all procs-*)
#
# KERNEL is the start of a version, with a flavour or without: 5.10, 6.12, 6.17.13, 6.1-rt, 6.12-cloud. The newest that fits in any
# of Debian's suites is taken; a whole release (7.3-amd64) is that one. VARIANT is one of the list, or a name
# MODE-KERNEL-MACHINE such as procs-5.10-4level or procs-6.12-rt-la57-pti-2cpu.
#
# Environment:
#   PTEMU_CACHE    where everything goes (default: ${XDG_CACHE_HOME:-~/.cache}/ptemu)
#   PTEMU_UPDATE   1: look for newer kernels although some are there
#   PTEMU_MIRROR   Debian archive to use when apt's configuration names none
#   PTEMU_SUITES   search only these of Debian's suites, which is quicker: "bookworm trixie"
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PTEMU_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ptemu}

# The kernels that the emulator knows.
known=(6.1 6.12 7.2)
# Debian's suites that are searched for a kernel, and those that have a security archive.
read -ra suites <<<"${PTEMU_SUITES:-bullseye bookworm trixie trixie-backports forky sid experimental}"
secured=' bullseye bookworm trixie '
# Modules, in the order in which they are loaded. A kernel that has one built in lacks the file. The guest of the captures
# takes the first two; the agent takes all, for files on a disk.
modules=(qemu_fw_cfg brd crc16 crc32c_generic mbcache jbd2 ext4)
guest_modules='0[01]-*.ko'

die() { echo "capture.sh: $*" >&2; exit 1; }
say() { echo "capture.sh: $*" >&2; }

need_tools() { # COMMAND:PACKAGE ...
	local pair missing=()
	for pair in "$@"; do
		command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
	done
	((${#missing[@]})) || return 0
	((EUID == 0)) || die "missing: ${missing[*]} (install these Debian packages)"
	say "installing ${missing[*]}"
	apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 ||
		die "apt-get could not install: ${missing[*]}"
}

# sources prints where apt finds the suites: in the archives that this machine uses.
sources() {
	local suite key=/usr/share/keyrings/debian-archive-keyring.gpg options archive security
	[[ -e $key ]] || die "$key is missing (package debian-archive-keyring)"
	options="arch=amd64 target=Packages signed-by=$key"
	archive=${PTEMU_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' \
		'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)}
	[[ -n $archive ]] || die "apt knows no Debian archive here: run 'apt-get update', or set PTEMU_MIRROR"
	security=$(apt-get indextargets --format '$(REPO_URI)' \
		'Created-By: Packages' 'Origin: Debian' 'Label: Debian-Security' | head -n 1)
	for suite in "${suites[@]}"; do
		echo "deb [$options] $archive $suite main"
		[[ -z $security || $secured != *" $suite "* ]] || echo "deb [$options] $security $suite-security main"
	done
}

# ours runs an apt tool that knows only these suites and has no installed packages.
ours() { # COMMAND...
	APT_CONFIG=$cache/apt/apt.conf timeout 900 "$@"
}

# update_lists reads the suites' lists, once a run. A suite that has left the archive is no loss for the others.
update_lists() {
	local dir=$cache/apt
	[[ -z ${updated:-} ]] || return 0
	updated=1
	mkdir -p "$dir"/{lists,archives}/partial "$dir/none"
	sources >"$dir/sources.list"
	cat >"$dir/apt.conf" <<-EOF
		Dir::Etc::sourcelist "$dir/sources.list";
		Dir::Etc::sourceparts "$dir/none";
		Dir::Etc::preferencesparts "$dir/none";
		Dir::State::lists "$dir/lists";
		Dir::State::status "/dev/null";
		Dir::Cache "$dir";
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::Retries "3";
	EOF
	ours apt-get update -qq || say "not all suites could be read: ${suites[*]}"
}

# image_of KERNEL prints the newest package of a kernel.
image_of() {
	local kernel=$1 version=${1%%-*} flavour=''
	if [[ $kernel == *-amd64 ]]; then
		ours apt-cache pkgnames "linux-image-$version" | grep -Fx "linux-image-$kernel" || true
		return
	fi
	[[ $kernel != *-* ]] || flavour=${kernel#*-}-
	ours apt-cache pkgnames "linux-image-$version" |
		grep -E "^linux-image-${version//./\\.}([.-][0-9]+|[+.]deb[0-9.]+)*-${flavour}amd64\$" | sort -V | tail -n 1 || true
}

# depends PACKAGE PATTERN prints the dependencies whose names match.
depends() {
	ours apt-cache depends --no-recommends --no-suggests --no-conflicts \
		--no-breaks --no-replaces --no-enhances "$1" | sed -n 's/^ *|\? *Depends: //p' | grep -E "$2" || true
}

# first_of prints the first of the files that exists: 7.2 packages have no /boot.
first_of() {
	local file
	for file in "$@"; do
		[[ ! -e $file ]] || { echo "$file"; return; }
	done
}

# fetch_kernel KERNEL leaves kernels/KERNEL/{vmlinuz,release,modules/}, and config where Debian ships it.
fetch_kernel() {
	local kernel=$1 out=$cache/kernels/$1 image package deb release tmp
	[[ -e $out/release && ${PTEMU_UPDATE:-0} != 1 && $(cat "$out/modules/list" 2>/dev/null) == "${modules[*]}" ]] && return
	[[ $kernel =~ ^[0-9]+\.[0-9][0-9a-z.+-]*$ ]] || die "$kernel is no kernel: want 6.12, 6.12-rt, 6.17.13, or a release such as 7.3-cloud-amd64"
	update_lists
	image=$(image_of "$kernel")
	[[ -n $image ]] || die "no suite (${suites[*]}) has a package linux-image-... of $kernel"
	say "fetching $image"
	tmp=$cache/kernels/$kernel.new
	rm -rf "$tmp"
	mkdir -p "$tmp/root"
	for package in "$image" $(depends "$image" '^linux-(binary|modules)-'); do
		(cd "$tmp" && ours apt-get download -qq "$package") || die "could not download $package"
	done
	for deb in "$tmp"/*.deb; do
		dpkg -x "$deb" "$tmp/root"
	done
	release=${image#linux-image-}
	mv "$(first_of "$tmp/root/boot/vmlinuz-$release" "$tmp/root/usr/lib/modules/$release/vmlinuz")" "$tmp/vmlinuz" ||
		die "no vmlinuz in $image"
	[[ ! -e $tmp/root/boot/config-$release ]] || mv "$tmp/root/boot/config-$release" "$tmp/config"
	take_modules "$tmp" "$release"
	echo "$release" >"$tmp/release"
	rm -rf "$tmp/root" "$tmp"/*.deb "$out"
	mv "$tmp" "$out"
	say "kernel $kernel is $release"
}

take_modules() { # FOLDER RELEASE
	local dir=$1 release=$2 i file name missing=()
	mkdir -p "$dir/modules"
	echo "${modules[*]}" >"$dir/modules/list"
	for i in "${!modules[@]}"; do
		name=$(printf '%02d-%s.ko' "$i" "${modules[i]}")
		file=$(find "$dir/root" -path "*/modules/$release/*" -name "${modules[i]}.ko*" | head -n 1)
		case $file in
		*.ko) cp "$file" "$dir/modules/$name" ;;
		*.ko.xz) xz -dc "$file" >"$dir/modules/$name" ;;
		*.ko.zst) zstd -qdc "$file" >"$dir/modules/$name" ;;
		*) missing+=("${modules[i]}") ;;
		esac
	done
	if ((${#missing[@]} == ${#modules[@]})); then
		say "$release comes without modules (superseded: the archive keeps no others): no swap, no VMCOREINFO note"
	elif ((${#missing[@]})); then
		say "$release has no ${missing[*]}: taken as built in"
	fi
}

# make_initrd KERNEL packs the guest program and the modules.
make_initrd() {
	local dir=$cache/kernels/$1 root=$cache/kernels/$1/initrd
	rm -rf "$root"
	mkdir -p "$root"/{dev,proc,sys,modules}
	cp "$cache/init" "$root/init"
	# shellcheck disable=SC2086
	cp "$dir"/modules/$guest_modules "$root/modules/" 2>/dev/null || true
	(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc --owner=0:0) | gzip -1 >"$dir/initrd.gz"
	rm -rf "$root"
}

prepare() { # KERNEL ...
	local kernel
	need_tools apt-get:apt dpkg:dpkg xz:xz-utils zstd:zstd cpio:cpio gzip:gzip timeout:coreutils
	command -v go >/dev/null || die "go is missing"
	(cd "$here/.." && CGO_ENABLED=0 GOOS=linux GOARCH=amd64 \
		go build -trimpath -ldflags='-s -w' -o "$cache/init" ./conformance/guest) || die "the guest does not compile"
	(cd "$here/.." && CGO_ENABLED=0 GOOS=linux GOARCH=amd64 \
		go build -trimpath -ldflags='-s -w' -o "$cache/agent" ./conformance/agent) || die "the agent does not compile"
	for kernel in "$@"; do
		fetch_kernel "$kernel"
		make_initrd "$kernel"
	done
}

# only_one keeps two runs from working in the same cache, and machines from competing.
only_one() {
	mkdir -p "$cache"
	exec {lock}>"$cache/lock"
	flock -w 1800 "$lock" || die "another run has held $cache for half an hour"
}

capture() { (cd "$here/.." && go run ./conformance/capture "$@"); }

# expand_names prints the variants; a name that ends in - stands for all that begin so.
expand_names() { # NAME ...
	local name
	for name in "$@"; do
		case $name in
		*-) capture -list | cut -f 1 | grep "^$name" || die "no variants begin with $name" ;;
		*) echo "$name" ;;
		esac
	done
}

run() {
	local variant variants=("$@") kernels
	((${#variants[@]})) || mapfile -t variants < <(capture -list -usual | cut -f 1)
	mapfile -t variants < <(expand_names "${variants[@]}")
	mapfile -t kernels < <(capture -list "${variants[@]}" | cut -f 2 | sort -u)
	((${#kernels[@]})) || die "no such variant: ${variants[*]} (capture.sh list)"
	need_tools qemu-system-x86_64:qemu-system-x86
	prepare "${kernels[@]}"
	for variant in "${variants[@]}"; do
		capture -kernels "$cache/kernels" -out "$cache/captures" "$variant"
	done
}

# The script is read to its end before anything runs, so that it can be edited meanwhile.
main() {
	case ${1:-} in
	list) capture -list ;;
	prepare)
		shift
		(($#)) || set -- "${known[@]}"
		only_one
		prepare "$@"
		;;
	run)
		shift
		only_one
		run "$@"
		;;
	*)
		sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
		exit 2
		;;
	esac
}

main "$@"; exit
