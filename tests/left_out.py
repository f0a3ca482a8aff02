"""The one list of tests that even CI may leave out, each with its reason.

Keys are how a test's id begins. Everything else that is skipped where ``CI`` is set fails
the run: there, every part that a test wants is installed.
"""

MAY_BE_LEFT_OUT: dict[str, str] = {
    "tests/integration/system/test_job_identity.py": (
        "containers mount cgroups read-only, and a kernel has only one of the two versions"
    ),
    "tests/integration/node/test_slurm.py": (
        "a real Slurm wants root and writable cgroups of version 1"
    ),
    "tests/integration/node/test_memory.py": (
        "a limit of memory wants root and writable cgroups of version 1"
    ),
    "tests/integration/node/test_booted.py": (
        "a node is booted in a container, which a container without rights of its own cannot do"
    ),
    "tests/crash/ledger/test_broken.py::test_a_disk_that_turns_read_only": (
        "a file system that turns read-only wants root, a loop device and a writable /sys"
    ),
    "tests/contract/test_ollama_server.py": (
        "the server and the official client want Python 3.12 or newer, in an environment of "
        "their own: pip install ollama-proxy-plus ollama, and its bin on the path"
    ),
    "tests/integration/http/test_clients_of_others.py": (
        "llm, LangChain and LiteLLM bring hundreds of packages, older SDKs among them: in an "
        "environment of their own, named by SUTLER_CLIENTS"
    ),
}
