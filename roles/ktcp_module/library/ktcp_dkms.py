#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Build and install ktcp.ko by DKMS for every installed kernel, go back, or remove it.

A failed build leaves the installed module in place.

The source arrives as one JSON file of names and texts, and is unpacked into
/usr/src/ktcp-VERSION. DKMS's exit codes are not enough: it also exits with 0 when headers are
missing. So ``dkms status`` and ``modinfo -k`` are asked afterwards.
"""

import json
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: ktcp_dkms
short_description: Build, install, roll back or remove KTCP's kernel module
description:
  - Builds the module by DKMS for every installed kernel that its source is made for, and checks
    what DKMS says and does. Nothing that is installed changes unless all builds succeed.
  - Does not load the module; RV(reload) says whether that is needed.
options:
  state:
    description:
      - V(present) installs the module of O(source) where it is missing, and keeps the loaded one
        in C(/usr/src/ktcp-kept).
      - V(former) installs the kept module, and keeps the present one in exchange.
      - V(absent) removes every version from DKMS and from every kernel, and the kept one.
    type: str
    choices: [present, former, absent]
    default: present
  source:
    description: JSON file, on the host, with the source's files - names and texts.
    type: path
    default: /usr/src/ktcp.json
  planned:
    description:
      - The C(dkms.conf) of a source that check mode has not written to O(source), or that is to be
        signed with a key that check mode has not written. Check mode then says that the module is
        built for every kernel.
    type: str
  built:
    description:
      - Directory, on the host, of modules that another host has built from the same source, each
        as C(KERNEL/ktcp.ko). They are installed instead of a build if they are signed as they
        should be.
    type: path
  certificate:
    description: Certificate, on the host, of the key that the module has to be signed with.
    type: path
  srcversion:
    description:
      - The module that V(former) has to return to. The present one is not kept then, and nothing
        is done if that module is installed already.
    type: str
  ignored_kernels:
    description: Releases of installed kernels for which the module is not built.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description:
      - The srcversion of a module that is not built yet is not known. So the module may turn out
        to be the same as the loaded one where RV(reload) says that it differs.
  diff_mode:
    support: full
    description: Shows the module of every kernel and the kept one.
"""

EXAMPLES = r"""
- name: Build and install the module for every kernel
  ktcp_dkms:
    ignored_kernels: [6.1.0-40-amd64]
  register: build

- name: Go back to the module that ran before
  ktcp_dkms:
    state: former
"""

RETURN = r"""
steps:
  description: What was done, or would be done in check mode, in order.
  type: list
  elements: str
  returned: always
  sample: ["ktcp/0.1.0: kept", "kernel 6.1.0-44-amd64: ktcp/0.2.0 installed"]
reload:
  description: Whether a module is loaded that is not the one that would be loaded now.
  type: bool
  returned: success
"""

NAME = "ktcp"
SOURCES = Path("/usr/src")
MODULES = Path("/lib/modules")
LOADED = Path("/sys/module") / NAME / "srcversion"
DKMS = Path("/var/lib/dkms") / NAME
# Where the role puts modules that another host has built.
BUILT = SOURCES / f"{NAME}-built"
# The module that ran before the installed one, with its source, for rollback. DKMS does not know
# it: otherwise a new kernel would get whichever of the two has the higher version.
KEPT = SOURCES / f"{NAME}-kept"

# Modules are first built under this version, so that the installed module stays until the new one
# is complete.
TRIAL = ".trial"

# The setting of dkms.conf that says which kernels it is made for.
EXCLUSIVE = "BUILD_EXCLUSIVE_KERNEL"

# A compiler's errors are at the end of its output.
LOG_LINES = 25


class DkmsError(Exception):
    """What is wrong, a sentence a line."""


# Gets every step that was done, in a sentence.
Say = Callable[[str], None]

# Versions, each with the kernels that it is installed for.
Versions = dict[str, list[str]]


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and capture its output. A missing one ends as in a shell."""
    try:
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(argv, 127, "", f"{argv[0]}: command not found")


def field(name: str, *module: str) -> str:
    """A field of a module, empty if there is no such module or field; modinfo's arguments."""
    return run("modinfo", "-F", name, *module).stdout.strip()


@dataclass(frozen=True)
class Source:
    """The module's source as it should be, and where another host's builds of it are.

    The latter hold KERNEL/ktcp.ko, compressed or not. With a certificate, the module has to
    be signed with its key.
    """

    files: dict[str, str]
    built: Path | None = None
    certificate: Path | None = None

    def setting(self, name: str) -> str:
        """A value of dkms.conf. Raises DkmsError when it is not there."""
        found = re.search(rf'^{name}="?([^"\n]*)"?$', self.files.get("dkms.conf", ""), re.MULTILINE)
        if not found:
            raise DkmsError(f"dkms.conf of the source has no {name}")
        return found[1]

    @property
    def version(self) -> str:
        """The version that DKMS knows the module by."""
        return self.setting("PACKAGE_VERSION")

    @property
    def tree(self) -> Path:
        """Where DKMS looks for the source."""
        return SOURCES / f"{NAME}-{self.version}"

    def trial(self) -> "Source":
        """The same source under a version that DKMS never installs for a kernel by itself."""
        version = f'PACKAGE_VERSION="{self.version}{TRIAL}"'
        conf = re.sub(r"^PACKAGE_VERSION=.*$", version, self.files["dkms.conf"], flags=re.MULTILINE)
        conf = re.sub(r"^AUTOINSTALL=.*\n?", "", conf, flags=re.MULTILINE)
        return replace(self, files={**self.files, "dkms.conf": conf})

    def is_unpacked(self) -> bool:
        """Whether the tree holds exactly these files."""
        return unpacked(self.tree) == self.files

    def unpack(self) -> None:
        """Make the tree contain exactly these files. DKMS must not know the tree at that time."""
        shutil.rmtree(self.tree, ignore_errors=True)
        for name, text in self.files.items():
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def unpacked(tree: Path) -> dict[str, str]:
    """The files of an unpacked source."""
    return {
        str(path.relative_to(tree)): path.read_text(encoding="utf-8")
        for path in tree.rglob("*")
        if path.is_file()
    }


def known_versions() -> Versions:
    """The versions that DKMS knows."""
    versions: Versions = {}
    for line in run("dkms", "status", NAME).stdout.splitlines():
        found = re.match(rf"{NAME}/([^,: ]+)(?:, ([^,]+), [^:]+)?: (\w+)(.*)", line)
        if found:
            kernels = versions.setdefault(found[1], [])
            # Behind the state DKMS prints a warning if the installed file is not the built one.
            if found[3] == "installed" and "WARNING" not in found[4]:
                kernels.append(found[2])
    return versions


def installed_kernels() -> list[str]:
    """Kernels whose image exists: DKMS leaves directories of removed kernels behind."""
    return sorted(path.parent.name for path in MODULES.glob("*/modules.builtin"))


def srcversion(kernel: str) -> str:
    """The source's checksum in the module that a kernel would load; empty without one."""
    return field("srcversion", "-k", kernel, NAME)


def is_signed(source: Source, *module: str) -> bool:
    """Whether a module is signed with the right key; the arguments are modinfo's."""
    if source.certificate is None:
        return True
    said = run("openssl", "x509", "-noout", "-serial", "-in", str(source.certificate))
    wanted = said.stdout.strip().removeprefix("serial=")
    if not wanted:
        raise DkmsError(f"{source.certificate}: is no certificate: {said.stderr.strip()}")
    serial = field("sig_key", *module).replace(":", "")
    return serial.upper().lstrip("0") == wanted.upper().lstrip("0")


def is_installed_signed(source: Source, kernel: str) -> bool:
    """Whether the module that a kernel would load is signed with the right key."""
    return is_signed(source, "-k", kernel, NAME)


def missing(source: Source, kernels: list[str], known: Versions) -> list[str]:
    """Kernels that the module has to be installed for."""
    built = known.get(source.version, []) if source.is_unpacked() else []
    return [
        kernel
        for kernel in kernels
        if kernel not in built or not srcversion(kernel) or not is_installed_signed(source, kernel)
    ]


def wanted_kernels(source: Source, ignored: list[str], *, built: bool = True) -> list[str]:
    """The installed kernels that the module supports.

    Raises DkmsError with all for which the module can't be built. Unless it is to be `built` now,
    headers may be missing.
    """
    supported = source.setting(EXCLUSIVE)
    kernels = [k for k in installed_kernels() if k not in ignored and re.search(supported, k)]
    running = platform.release()
    problems = [
        f"kernel {kernel}: no headers: install linux-headers-{kernel}, or ignore this kernel"
        for kernel in kernels
        if built and not (MODULES / kernel / "build" / "Makefile").exists()
    ]
    if not re.search(supported, running):
        problems.append(f"kernel {running} runs, but {NAME} is made for {supported}")
    if problems:
        raise DkmsError("\n".join(problems))
    return kernels


def built_modules(version: str, kernel: str) -> Path:
    """Where DKMS keeps the module that it built for a kernel."""
    return DKMS / version / kernel / platform.machine() / "module"


def brought(source: Source, kernel: str) -> Path | None:
    """The directory of a module that another host has built, if it can be used as it is."""
    if source.built is None:
        return None
    module = next((source.built / kernel).glob(f"{NAME}.ko*"), None)
    return module.parent if module and is_signed(source, str(module)) else None


def build(source: Source, kernels: list[str]) -> dict[str, Path]:
    """Find or build the module for each kernel, without changing anything installed.

    Returns the modules' directories. Raises DkmsError with the compiler's errors.
    """
    ready = {kernel: place for kernel in kernels if (place := brought(source, kernel))}
    left = [kernel for kernel in kernels if kernel not in ready]
    if not left:
        return ready
    trial = source.trial()
    trial.unpack()
    run("dkms", "add", f"{NAME}/{trial.version}")
    problems = [problem for kernel in left if (problem := try_build(trial, kernel))]
    if problems:
        problems.append(f"{NAME}/{source.version}: not installed; what was installed stays")
        raise DkmsError("\n".join(problems))
    return {**ready, **{kernel: built_modules(trial.version, kernel) for kernel in left}}


def try_build(trial: Source, kernel: str) -> str:
    """Build the module for one kernel. Returns the error, empty if there is none."""
    name = f"{NAME}/{trial.version.removesuffix(TRIAL)}"
    done = run("dkms", "build", f"{NAME}/{trial.version}", "-k", kernel)
    module = next(built_modules(trial.version, kernel).glob(f"{NAME}.ko*"), None)
    if module is None:
        log = DKMS / trial.version / "build" / "make.log"
        said = log.read_text(errors="replace") if log.exists() else done.stdout + done.stderr
        lines = said.splitlines()[-LOG_LINES:]
        return "\n".join([f"kernel {kernel}: {name} did not build:", *lines])
    # DKMS signs the modules that it builds.
    if not is_signed(trial, str(module)):
        return f"kernel {kernel}: {name} is not signed with the key of {trial.certificate}"
    return ""


def adopt(source: Source, kernel: str, modules: Path, say: Say) -> None:
    """Hand DKMS a built module as if it had built it itself under this version, and install it.

    Raises DkmsError when it is not installed afterwards.
    """
    name = f"{NAME}/{source.version}"
    # DKMS does not replace a module of the same version, and knows one if only the key has changed.
    run("dkms", "unbuild", name, "-k", kernel)
    place = built_modules(source.version, kernel)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(modules, place)
    done = run("dkms", "install", "--force", name, "-k", kernel)
    if kernel not in known_versions().get(source.version, []) or not srcversion(kernel):
        said = (done.stdout + done.stderr).splitlines()[-LOG_LINES:]
        raise DkmsError("\n".join([f"kernel {kernel}: {name} was not installed:", *said]))
    say(f"kernel {kernel}: {NAME}/{source.version} installed")


def forget_trials() -> None:
    """Remove trial builds, also those of an interrupted run."""
    for tree in SOURCES.glob(f"{NAME}-*{TRIAL}"):
        run("dkms", "remove", f"{NAME}/{tree.name.removeprefix(f'{NAME}-')}", "--all")
        shutil.rmtree(tree)


def without_trials(known: Versions) -> Versions:
    """The versions that are no trial builds."""
    return {version: built for version, built in known.items() if not version.endswith(TRIAL)}


def install(source: Source, ignored: list[str], known: Versions, say: Say) -> None:
    """Build missing modules, then install them.

    Nothing is changed if any module does not build.
    """
    kernels = wanted_kernels(source, ignored)
    forget_trials()
    known = without_trials(known)
    try:
        modules = build(source, missing(source, kernels, known))
        if is_worth_keeping(source, known):
            keep_loaded(known, say)
        bring(source, modules, known, say)
    finally:
        forget_trials()
    for version in known:
        if version != source.version:
            forget(version, say)


def bring(source: Source, modules: dict[str, Path], known: Versions, say: Say) -> None:
    """Install built modules. From here on the former ones of this version are gone."""
    if not source.is_unpacked():
        # DKMS forgets the version first, so that an interruption never leaves old builds beside new
        # source.
        if known.pop(source.version, None) is not None:
            run("dkms", "remove", f"{NAME}/{source.version}", "--all")
        source.unpack()
        say(f"{source.tree}: unpacked")
    if source.version not in known:
        run("dkms", "add", f"{NAME}/{source.version}")
    for kernel, place in modules.items():
        adopt(source, kernel, place, say)


def loaded_version(known: Versions) -> str | None:
    """The version of the loaded module, if that is an installed one."""
    running = platform.release()
    if not LOADED.exists() or is_outdated(srcversion(running)):
        return None
    return next((version for version, kernels in known.items() if running in kernels), None)


def is_worth_keeping(source: Source, known: Versions) -> bool:
    """Whether the installed module is the loaded one, and not that of the source.

    A module that never ran, because it did not build or load, is not worth going back to.
    """
    version = loaded_version(known)
    return version is not None and (version != source.version or not source.is_unpacked())


def keep_loaded(known: Versions, say: Say) -> None:
    """Keep the loaded module, with its source."""
    version = loaded_version(known)
    if version is None:
        return
    draft = KEPT.with_suffix(".new")
    shutil.rmtree(draft, ignore_errors=True)
    for kernel in known[version]:
        shutil.copytree(built_modules(version, kernel), draft / "built" / kernel)
    files = unpacked(SOURCES / f"{NAME}-{version}")
    (draft / f"{NAME}.json").write_text(json.dumps(files), encoding="utf-8")
    shutil.rmtree(KEPT, ignore_errors=True)
    draft.rename(KEPT)
    say(f"{NAME}/{version}: kept")


def kept_srcversion() -> str:
    """The checksum of the kept module's source; empty if none is kept for this kernel."""
    module = next((KEPT / "built" / platform.release()).glob(f"{NAME}.ko*"), None)
    return field("srcversion", str(module)) if module else ""


def is_done(to: str | None) -> bool:
    """Whether the module to return to is installed already."""
    return bool(to) and to == srcversion(platform.release())


def kept_source(to: str | None) -> Source:
    """The source of the kept module. Raises DkmsError if there is none, or another than `to`."""
    kept = kept_srcversion()
    if not kept or (to and to != kept):
        raise DkmsError(f"{to or 'the module that ran before'}: not kept in {KEPT}")
    files = json.loads((KEPT / f"{NAME}.json").read_text(encoding="utf-8"))
    return Source(files, KEPT / "built")


def rollback(to: str | None, ignored: list[str], known: Versions, say: Say) -> None:
    """Install the kept module and keep the present one in exchange.

    With ``to``, a srcversion, only that module is installed, nothing happens if it is installed
    already, and the present module is not kept.
    """
    if is_done(to):
        only_installed(known, say, kept_too=kept_srcversion() == to)
        return
    source = kept_source(to)
    place = KEPT.with_suffix(".old")
    shutil.rmtree(place, ignore_errors=True)
    KEPT.rename(place)
    try:
        install(replace(source, built=place / "built"), ignored, known, say)
    except DkmsError:
        shutil.rmtree(KEPT, ignore_errors=True)
        place.rename(KEPT)
        raise
    shutil.rmtree(place)
    if to:
        shutil.rmtree(KEPT, ignore_errors=True)
    # The role compares the source with this bundle.
    text = json.dumps(source.files, indent=1, sort_keys=True)
    (SOURCES / f"{NAME}.json").write_text(f"{text}\n", encoding="utf-8")


def not_running(known: Versions) -> list[str]:
    """Versions that are not installed for the running kernel: builds that failed."""
    return [version for version, kernels in known.items() if platform.release() not in kernels]


def only_installed(known: Versions, say: Say, *, kept_too: bool) -> None:
    """Delete failed builds, and a kept module that is the installed one."""
    for version in not_running(known):
        forget(version, say)
    if kept_too:
        shutil.rmtree(KEPT)
        say(f"{KEPT}: removed")


def is_outdated(installed: str) -> bool:
    """Whether a module is loaded whose srcversion is not that of the installed one."""
    return LOADED.exists() and LOADED.read_text(encoding="ascii").strip() != installed


def forget(version: str, say: Say) -> None:
    """Remove one version from DKMS, from every kernel, and its source."""
    run("dkms", "remove", f"{NAME}/{version}", "--all")
    shutil.rmtree(SOURCES / f"{NAME}-{version}", ignore_errors=True)
    say(f"{NAME}/{version}: removed")


def places() -> list[Path]:
    """What there is of the module, beside what each kernel has."""
    paths = [*SOURCES.glob(f"{NAME}-[0-9]*"), BUILT, KEPT, DKMS]
    return [path for path in paths if path.exists()]


def remove(known: Versions, say: Say) -> None:
    """Remove every version. Raises DkmsError when something stays."""
    for version in known:
        forget(version, say)
    for path in places():
        shutil.rmtree(path)
        say(f"{path}: removed")
    left = [str(path) for path in MODULES.glob(f"*/**/{NAME}.ko*")]
    if left:
        raise DkmsError(f"still there, and not DKMS's: {', '.join(left)}")


@dataclass(frozen=True)
class Stock:
    """What a host has of the module.

    Attributes:
        kernels: what each kernel would load.
        kept: srcversion of the kept module, empty without one.
    """

    kernels: dict[str, str]
    kept: str

    @property
    def text(self) -> str:
        """All of it, as a difference shows it."""
        lines = [f"kernel {kernel}: {module}" for kernel, module in sorted(self.kernels.items())]
        lines += [f"kept: srcversion {self.kept}"] if self.kept else []
        return "".join(f"{line}\n" for line in lines)


def stock(known: Versions) -> Stock:
    """What the host has now."""
    kernels = {
        kernel: f"{NAME}/{version}, srcversion {srcversion(kernel)}{signature(kernel)}"
        for version, kernels in known.items()
        for kernel in kernels
    }
    return Stock(kernels, kept_srcversion())


def signature(kernel: str) -> str:
    """What a kernel's module is signed with, for people; empty for a module without a signature."""
    key = field("sig_key", "-k", kernel, NAME)
    return f", signed with {key}" if key else ""


@dataclass(frozen=True)
class Outcome:
    """What was done, or would be: steps, what the host has after them, and if it has to reload."""

    steps: list[str]
    after: Stock
    reload: bool


def foresee_install(
    source: Source, ignored: list[str], known: Versions, now: Stock, *, planned: bool
) -> Outcome:
    """What ``install`` would do; `planned` if the source or its key is not on the host yet."""
    known = without_trials(known)
    wanted = wanted_kernels(source, ignored, built=False)
    kernels = wanted if planned else missing(source, wanted, known)
    steps = [f"kernel {kernel}: {NAME}/{source.version} to be installed" for kernel in kernels]
    others = [version for version in known if version != source.version]
    steps += [f"{NAME}/{version}: to be removed" for version in others]
    stays = known.get(source.version, [])
    after = {kernel: module for kernel, module in now.kernels.items() if kernel in stays}
    coming = {kernel: coming_srcversion(source, kernel) for kernel in kernels}
    after |= {
        kernel: f"{NAME}/{source.version}, {f'srcversion {new}' if new else 'to be built'}"
        for kernel, new in coming.items()
    }
    kept = srcversion(platform.release()) if is_worth_keeping(source, known) else now.kept
    running = platform.release()
    return Outcome(steps, Stock(after, kept), is_outdated(coming.get(running, srcversion(running))))


def coming_srcversion(source: Source, kernel: str) -> str:
    """The checksum of the module that ``install`` would take for a kernel; empty before a build."""
    place = brought(source, kernel)
    module = next(place.glob(f"{NAME}.ko*")) if place else None
    return field("srcversion", str(module)) if module else ""


def foresee_rollback(to: str | None, ignored: list[str], known: Versions, now: Stock) -> Outcome:
    """What ``rollback`` would do."""
    if is_done(to):
        steps = [f"{NAME}/{version}: to be removed" for version in not_running(known)]
        kept = "" if now.kept == to else now.kept
        steps += [] if kept == now.kept else [f"{KEPT}: to be removed"]
        return Outcome(steps, replace(now, kept=kept), is_outdated(srcversion(platform.release())))
    found = foresee_install(kept_source(to), ignored, known, replace(now, kept=""), planned=False)
    return replace(found, after=replace(found.after, kept="" if to else found.after.kept))


def foresee_removal(known: Versions) -> Outcome:
    """What ``remove`` would do."""
    things = [*(f"{NAME}/{version}" for version in known), *map(str, places())]
    return Outcome([f"{thing}: to be removed" for thing in things], Stock({}, ""), reload=False)


@dataclass(frozen=True)
class Order:
    """What Ansible asks for; the options of the module, as it documents them."""

    state: str
    source: str
    planned: str | None
    built: str | None
    certificate: str | None
    srcversion: str | None
    ignored_kernels: list[str]

    def wanted_source(self, *, check: bool) -> Source:
        """The source that the host has or, in check mode, would have."""
        if check and self.planned:
            return Source({"dkms.conf": self.planned})
        files = json.loads(Path(self.source).read_text(encoding="utf-8"))
        built = Path(self.built) if self.built else None
        return Source(files, built, Path(self.certificate) if self.certificate else None)

    def foresee(self, known: Versions, now: Stock) -> Outcome:
        """What ``carry_out`` would do."""
        if self.state == "absent":
            return foresee_removal(known)
        if self.state == "former":
            return foresee_rollback(self.srcversion, self.ignored_kernels, known, now)
        source = self.wanted_source(check=True)
        planned = self.planned is not None
        return foresee_install(source, self.ignored_kernels, known, now, planned=planned)

    def carry_out(self, known: Versions, say: Say) -> None:
        """Do it."""
        if self.state == "absent":
            remove(known, say)
        elif self.state == "former":
            rollback(self.srcversion, self.ignored_kernels, known, say)
        else:
            install(self.wanted_source(check=False), self.ignored_kernels, known, say)


SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "former", "absent"], "default": "present"},
    "source": {"type": "path", "default": "/usr/src/ktcp.json"},
    "planned": {"type": "str"},
    "built": {"type": "path"},
    "certificate": {"type": "path"},
    "srcversion": {"type": "str"},
    "ignored_kernels": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    order = Order(**module.params)
    steps: list[str] = []
    try:
        known = known_versions()
        before = stock(known)
        if module.check_mode:
            done = order.foresee(known, before)
        else:
            order.carry_out(known, steps.append)
            after = stock(known_versions()) if steps else before
            done = Outcome(steps, after, is_outdated(srcversion(platform.release())))
    except (DkmsError, OSError, ValueError) as error:
        module.fail_json(msg=str(error), changed=bool(steps), steps=steps)
    module.exit_json(
        changed=bool(done.steps),
        steps=done.steps,
        reload=done.reload,
        diff={"before": before.text, "after": done.after.text},
    )


if __name__ == "__main__":
    main()
