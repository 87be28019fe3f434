"""Which processors may be used, read from files as containers have them."""

import os

import pytest

from npresnet.backend.threads import available_threads, processors

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 {inside} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,"
    "cpu,cpuacct\n"
    "33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


@pytest.fixture(autouse=True)
def _sixty_four_processors(monkeypatch):
    """Let the machine have many, all of which this process may use."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    for name, value in (
        ("sched_getaffinity", lambda process: set(range(64))),
        ("process_cpu_count", lambda: 64),
    ):
        if hasattr(os, name):
            monkeypatch.setattr(os, name, value)


@pytest.fixture
def machine(tmp_path):
    """Make a folder with files as the system shows them, and return it."""

    def make(cgroup, mountinfo, files):
        proc = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mountinfo}
        for name, text in {**proc, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def test_without_such_files_the_processors_count(tmp_path):
    assert processors.limit(tmp_path) == (64, "the processors of this machine")


@pytest.mark.parametrize(
    ("quota", "count"),
    [
        ("max 100000", 64),
        ("200000 100000", 2),
        ("10000 5000", 2),
        ("150000 100000", 2),
        ("140000 100000", 1),
        ("1000 100000", 1),
        ("6400000 100000", 64),
        ("9900000 100000", 64),
        ("", 64),
        ("0 0", 64),
        ("-1 100000", 64),
        ("many 100000", 64),
    ],
)
def test_a_quota_of_version_2_counts(machine, quota, count):
    root = machine("0::/\n", V2, {"sys/fs/cgroup/cpu.max": f"{quota}\n"})
    found = processors.limit(root)
    assert found.processors == count
    if count < 64:
        assert "quota" in found.source
        assert "(/sys/fs/cgroup/cpu.max)" in found.source


@pytest.mark.parametrize(
    ("inner", "middle", "outer", "count"),
    [
        ("max", "max", "300000", 3),
        ("max", "300000", "max", 3),
        ("300000", "max", "max", 3),
        ("500000", "400000", "300000", 3),
        ("300000", "400000", "500000", 3),
    ],
)
def test_the_smallest_quota_of_all_groups_around_counts(
    machine, inner, middle, outer, count
):
    quotas = {"": outer, "user.slice/": middle, "user.slice/my job/": inner}
    files = {
        f"sys/fs/cgroup/{group}cpu.max": f"{quota} 100000\n"
        for group, quota in quotas.items()
    }
    root = machine("0::/user.slice/my job\n", V2, files)
    assert processors.limit(root).processors == count


def version_1(quota, period, group=""):
    folder = f"sys/fs/cgroup/cpu,cpuacct/{group}"
    return {
        f"{folder}cpu.cfs_quota_us": f"{quota}\n",
        f"{folder}cpu.cfs_period_us": f"{period}\n",
    }


@pytest.mark.parametrize(
    ("quota", "period", "count"),
    [(-1, 100_000, 64), (200_000, 100_000, 2), (25_000, 50_000, 1), (350, 100, 4)],
)
def test_a_quota_of_version_1_counts(machine, quota, period, count):
    cgroup = "9:memory:/other\n4:cpu,cpuacct:/\n1:name=systemd:/\n"
    root = machine(cgroup, V1.format(inside="/"), version_1(quota, period))
    found = processors.limit(root)
    assert found.processors == count
    assert count == 64 or "cpu,cpuacct/cpu.cfs_quota_us" in found.source


@pytest.mark.parametrize("inside", ["/docker/1234", "/"])
def test_a_container_may_know_its_group_by_the_name_outside(machine, inside):
    """Either what is mounted is the container's own group, or there is a group of that
    name within."""
    group = "" if inside != "/" else "docker/1234/"
    root = machine(
        "4:cpuacct,cpu:/docker/1234\n0::/\n",
        V1.format(inside=inside),
        version_1(300_000, 100_000, group),
    )
    assert processors.limit(root).processors == 3


@pytest.mark.parametrize("group", ["/../../other", "/elsewhere"])
def test_a_group_out_of_sight_is_judged_by_what_can_be_seen(machine, group):
    root = machine(
        f"4:cpu:{group}\n", V1.format(inside="/docker/1"), version_1(300_000, 100_000)
    )
    assert processors.limit(root).processors == 3


def test_both_versions_at_once_and_a_place_with_a_space_are_understood(machine):
    mounts = V1.format(inside="/") + V2.replace("/sys/fs/cgroup", "/a\\040place")
    root = machine(
        "4:cpu,cpuacct:/x\n0::/y\n",
        mounts,
        {**version_1(400_000, 100_000, "x/"), "a place/y/cpu.max": "300000 100000\n"},
    )
    found = processors.limit(root)
    assert found.processors == 3
    assert "/a place/y/cpu.max" in found.source


@pytest.mark.parametrize(
    ("cgroup", "mountinfo"),
    [
        ("", ""),
        ("nonsense\n\n:::\n", "nonsense\n\n - \n - cgroup2\n1 2 3 - cgroup2 x y\n"),
        ("0::/\n", "1 2 0:3 / /gone rw - cgroup2 cgroup2 rw\n"),
    ],
)
def test_files_that_make_no_sense_are_no_limit(machine, cgroup, mountinfo):
    assert processors.limit(machine(cgroup, mountinfo, {})).processors == 64


def test_affinity_counts(monkeypatch, tmp_path):
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system has none")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 5, 7})
    found = processors.limit(tmp_path)
    assert found.processors == 3
    assert "affinity" in found.source
    assert available_threads() <= 3
