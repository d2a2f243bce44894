"""The native half of Backlane: engine, store and runtime behind one object that moves bytes.

A call is answered by a completion that `Core.drain` hands out. Until a completion was handed out,
nothing about its call may be told to anyone: it leaves the core only once all that it rests on is
durable.
"""

from typing import Final, TypedDict, final, type_check_only

__all__ = [
    "Core",
    "CoreError",
    "DataCorruptError",
    "DataInUseError",
    "Principal",
    "__version__",
    "backup_directory",
    "build_profile",
    "check_directory",
    "reasons",
    "release_memory",
    "restore_directory",
    "salvage_directory",
]

__version__: Final[str]
"""The version of the core, which is the version of the package."""

class CoreError(Exception):
    """The core cannot do what was asked. The message is one clear line."""

class DataInUseError(CoreError):
    """The data directory is in use by another process."""

class DataCorruptError(CoreError):
    """The core refuses to start on this data. The message names what is missing or damaged."""

@type_check_only
class Findings(TypedDict):
    """What a check of a data directory found."""

    frames: int
    """Frames of the log that can be read."""
    facts: int
    """Facts in these frames."""
    rows: int
    """Rows that can be read."""
    damage: list[str]
    """The damage, one line each; empty if the directory is whole."""

@type_check_only
class Salvage(Findings):
    """What a salvage found and saved. Executions are named by their ids."""

    living: int
    """Number of executions that are living in the new directory."""
    failed: list[str]
    """Executions that ended as failed, because how they ended or where they stood is lost."""
    uncertain: list[str]
    """Living executions that lost facts may have changed: they may run a second time."""
    without_payload: list[str]
    """Living executions whose payload is lost: the server ends them as failed."""

def check_directory(path: str) -> Findings:
    """Read every frame, fact and row of a data directory that no server uses; change nothing.

    Args:
        path: the data directory.

    Raises:
        DataInUseError: a server uses the directory.
        DataCorruptError: another program or a newer version wrote the database.
        CoreError: the directory has no database, or cannot be read.
    """

def salvage_directory(path: str, new: str) -> Salvage:
    """Write what is whole in a damaged data directory into a new one, which a server can use.

    Args:
        path: the damaged directory, which is not changed.
        new: the new directory, which must be empty or not exist.

    Raises:
        DataInUseError: a server uses the damaged directory.
        DataCorruptError: nothing in the damaged directory can be read.
        CoreError: the new directory is not empty or cannot be written.
    """

def backup_directory(path: str, new: str) -> Findings:
    """Copy a data directory, which a server may be using, into a new one, and check the copy.

    Args:
        path: the data directory.
        new: the new directory, which must be empty or not exist.

    Raises:
        DataCorruptError: the directory is damaged, or another program or a newer version wrote it.
        CoreError: the directory has no database, or the new one cannot be written.
    """

def restore_directory(path: str, new: str, *, accept_loss: bool = False) -> Findings:
    """Copy a backup into a new directory, which a server can use, and check the copy.

    Args:
        path: the backup, which is not changed.
        new: the new directory, which must be empty or not exist.
        accept_loss: whether the backup may end earlier than its watermark says.

    Raises:
        DataInUseError: a server uses the backup.
        DataCorruptError: the backup is damaged or ends too early.
        CoreError: the backup has no database, or the new directory cannot be written.
    """

def release_memory() -> None:
    """Give memory that the core has freed back to the operating system. Takes milliseconds.

    The allocator does so by itself only while it is used, and an idle server does not use it.
    """

def build_profile() -> str:
    """Return how the core was built: `release` or `debug`."""

def reasons() -> list[tuple[str, int]]:
    """Return every `ErrorInfo.reason` the core sends, with its gRPC status code."""

@final
class Principal:
    """Who calls: decided by the server's identity, taken at its word by the core."""

    def __new__(cls, name: str, tenants: list[str] | None = None, role: str = "admin") -> Principal:
        """Make a principal; it never changes.

        Args:
            name: who it is, as it appears in records and logs.
            tenants: the tenants it may see and act for; None means all.
            role: what it may do there.
        """

    @property
    def name(self) -> str:
        """Who it is."""
    @property
    def tenants(self) -> list[str] | None:
        """The tenants it may see and act for; None means all."""
    @property
    def role(self) -> str:
        """What it may do there."""

@final
class Core:
    """An engine on its store, with the threads that drive it.

    No method blocks on the disk or the network but the constructor and `stop`, which release the
    GIL. All are safe to call from any thread.
    """

    def __new__(
        cls,
        *,
        data: str | None,
        node: str = "local",
        limits: dict[str, int] | None = None,
        accept_loss: bool = False,
        retention_ms: int = ...,
        manual_clock_ms: int | None = None,
        clock_ahead_ms: int | None = None,
    ) -> Core:
        """Open the store, recover, and return once calls can be answered.

        Args:
            data: the data directory, made where it is missing; None keeps everything in memory.
            node: this node's name.
            limits: limits other than the defaults, by name.
            accept_loss: start although the log shows a gap or a damaged end.
            retention_ms: how long finished executions are kept, in milliseconds.
            manual_clock_ms: for tests: a clock that stands at this instant, milliseconds since
                the epoch, until `advance` moves it; None runs on the machine's clocks.
            clock_ahead_ms: for tests: how far the clock is ahead of the machine's, or of where it
                stands, in milliseconds. `advance` moves it further; 50 years are the most.

        Raises:
            DataInUseError: another process has the data directory.
            DataCorruptError: the data is damaged or incomplete, and `accept_loss` is False.
            CoreError: anything else, such as an unknown limit or a directory that is not writable.
        """

    @property
    def fd(self) -> int:
        """A file descriptor that is readable while completions wait; `drain` resets it."""

    @property
    def failed(self) -> bool:
        """Whether the store failed fatally: acknowledge nothing more, and exit.

        A completion with ticket 0 and code 13 announces it; nothing after it may be delivered.
        """

    def methods(self) -> list[tuple[str, bool]]:
        """Return every RPC: its full path, and whether it is a bidirectional stream.

        A method's number is its index in this list, which is the same all through a process.
        """

    def call(
        self, method: int, principal: Principal | None, timeout_ms: int | None, request: bytes
    ) -> int:
        """Take a unary call and return its ticket. One completion will follow the next `wake`.

        Args:
            method: the method's number.
            principal: who calls; None where no identity is configured.
            timeout_ms: how long the caller will wait, in milliseconds; None means for ever.
            request: the request message, encoded.
        """

    def wake(self) -> None:
        """Have the calls decided that came since the last `wake`; one for many is cheapest.

        A few small calls are decided at once, on this thread and without the GIL, where the core
        is idle. Nothing is lost without it: within 0.2 seconds the core looks by itself.
        """

    def abandon(self, ticket: int) -> None:
        """Tell that the caller of a unary call is gone.

        Before the completion was drained: no completion will come. After it: the reply was not
        delivered, so that leases it carried are released. A ticket unknown by now is ignored.
        """

    def open(self, method: int, principal: Principal | None) -> int:
        """Open a stream and return its ticket, from the same numbers as those of calls."""

    def send(self, stream: int, message: bytes) -> bool:
        """Hand in a message of the client.

        Returns False where the caller has to stop reading this stream, until a completion with
        code -2 (RESUME) comes for it. The message itself is taken in either case.
        """

    def half_close(self, stream: int) -> None:
        """Tell that no further message of the client will come.

        It may have finished, or its connection broke: `close` follows soon in that case, so that
        this must take nothing from the client that a reconnect could keep.
        """

    def close(self, stream: int) -> None:
        """Tell that the stream is gone: no completion for it will come any more.

        Also called once after the core ended a stream by itself, and then ignored.
        """

    def written(self, stream: int, size: int) -> None:
        """Tell that a message of that many bytes left for the network.

        Also called for a unary call whose reply carries leases, once the reply left; from then on
        nothing will abandon it.
        """

    def drain(self) -> list[tuple[int, int, bytes, str]]:
        """Take every completion that waits: (ticket, code, payload, message).

        Code -1 (MESSAGE): payload is a message down the stream. Code -2 (RESUME): read this stream
        again. Code -3 (NOTICE), with ticket 0: message is a line for the server's log. Code 0: a
        unary call's reply, or the good end of a stream. Above 0: a gRPC status code; message is
        its text and payload the serialized `google.rpc.Status`.
        """

    def begin_drain(self) -> None:
        """Begin to stop: no further leases, workers are told, parked calls are answered."""

    def stop(self) -> None:
        """Make everything accepted durable and close the store. Harmless when repeated."""

    def stats(self) -> dict[str, int]:
        """Return counters and gauges by name.

        `direct_steps` counts the steps that other threads than the shard's own have taken.
        `disk_free_bytes` and `disk_reserve_bytes` are of the last look at the disk; `disk_is_full`
        is 1 while new executions are refused with `DISK_FULL`.
        """

    def advance(self, ms: int) -> None:
        """Move the clock of a core made with `manual_clock_ms` or `clock_ahead_ms`.

        Wall and monotonic time jump, as if that time had passed without a word from anybody. Every
        call made afterwards is decided later.

        Args:
            ms: how far, in milliseconds.

        Raises:
            CoreError: it would be more than 50 years ahead, or cannot be moved at all.
        """
