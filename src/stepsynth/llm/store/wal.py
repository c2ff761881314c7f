"""Whether SQLite has dropped completions that were in a store's newest half, its -wal file.

SQLite reads that file up to the first frame that is damaged, and says nothing. A process that was
killed leaves a frame or a transaction that is not whole at the end, which is no loss: so only
transactions that were whole, with others after them, count.
"""

import struct
from pathlib import Path

_HEADER = struct.Struct(">8I")
"""Magic number, version, page size, sequence, two salts, two checksums."""
_FRAME = struct.Struct(">6I")
"""Page number, size of the database after a commit or 0, two salts, two checksums."""
_WORDS = {0x377F0682: "<6I", 0x377F0683: ">6I"}
"""Magic number -> how the words are written that its checksum is of."""
_READ_FRAMES = 16
"""Where the -shm file says how many frames SQLite reads."""


def has_dropped_frames(path: Path) -> bool:
    """Say whether the newest half of a store that was just opened is damaged.

    Args:
        path: The store; a connection to it is open, has read, and has not written yet.
    """
    newest = path.with_name(f"{path.name}-wal")
    try:
        with newest.open("rb") as file:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return bool(header)
            read = _count_read(path)
            if not _is_sound(header):
                return not read  # else a process that is there has read it before
            _, _, page, _, *salts, _, _ = _HEADER.unpack(header)
            step = _FRAME.size + page
            place, commits, last = read + 1, list[int](), read
            file.seek(_HEADER.size + read * step)
            while len(frame := file.read(_FRAME.size)) == _FRAME.size:
                _, commit, *theirs, _, _ = _FRAME.unpack(frame)
                if theirs != salts:
                    break  # of an earlier life of the file
                if commit:
                    commits.append(place)
                file.seek(page, 1)
                place, last = place + 1, place
        # Another process may have gone on meanwhile, or begun anew.
        read = _count_read(path)
        with newest.open("rb") as file:
            is_same = file.read(_HEADER.size) == header
    except OSError:
        return False
    return is_same and any(read < commit < last for commit in commits)


def _is_sound(header: bytes) -> bool:
    magic, *_, one, other = _HEADER.unpack(header)
    if magic not in _WORDS:
        return False
    words = struct.unpack(_WORDS[magic], header[:24])
    sums = [0, 0]
    for first, second in zip(words[::2], words[1::2], strict=True):
        sums[0] = (sums[0] + first + sums[1]) & 0xFFFFFFFF
        sums[1] = (sums[1] + second + sums[0]) & 0xFFFFFFFF
    return sums == [one, other]


def _count_read(path: Path) -> int:
    with path.with_name(f"{path.name}-shm").open("rb") as file:
        file.seek(_READ_FRAMES)
        return struct.unpack("=I", file.read(4))[0]
