#!/usr/bin/python3
"""The demo's cameras: GStreamer's own RTSP server, playing files of access units again and again, without encoding.

Reads one JSON document from standard input: {"port", "username", "password", "sound": {"rate_hz", "piece_samples"}, "streams":
[{"path", "video", "list", "frames_per_s", "sound"}]}, says "listening" when it does, and ends when it is told to. A stream's "sound"
is a file of AAC with ADTS headers, or null for a camera without a microphone. A stream that nobody watches costs nothing.
"""

import json
import sys
import time
from fractions import Fraction
from math import ceil

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstApp, GstRtsp, GstRtspServer  # noqa: E402, F401 (GstApp gives appsrc its methods)

ROLE = "viewer"
# Between two looks at the clock: a fraction of a picture's time.
TICK_MS = 10
# What waits for a client that does not read; then the oldest is dropped.
QUEUE_BYTES_MAX = 4 << 20


class File:
    """Access units in memory, and which of them begin with a keyframe."""

    def __init__(self, video, listing):
        with open(video, "rb") as file:
            stream = file.read()
        self.units, self.keys, start = [], [], 0
        with open(listing, encoding="ascii") as file:
            lines = [line for line in file if not line.startswith("#")]
        for line in lines:
            size = int(line.split(",")[4])
            unit = stream[start : start + size]
            start += size
            self.units.append(unit)
            # A sequence parameter set precedes each keyframe and nothing else.
            self.keys.append(any(code in unit[:64] for code in (b"\0\0\1\x67", b"\0\0\1\x27")))


class Sound:
    """Pieces of AAC in memory, each behind its ADTS header."""

    def __init__(self, path, rate_hz, piece_samples):
        with open(path, "rb") as file:
            stream = file.read()
        self.rate_hz, self.piece_samples, self.units, start = rate_hz, piece_samples, [], 0
        while start < len(stream):
            size = (stream[start + 3] & 3) << 11 | stream[start + 4] << 3 | stream[start + 5] >> 5
            self.units.append(stream[start : start + size])
            start += size


class Player:
    """Feeds one source of a pipeline by the wall clock, from a moment on, until it is torn down."""

    def __init__(self, source, units, unit_ns, first, start_ns):
        self.source, self.units, self.unit_ns, self.next, self.start_ns = source, units, unit_ns, first, start_ns
        self.timer = GLib.timeout_add(TICK_MS, self.tick)

    def tick(self):
        while self.next * self.unit_ns <= time.time_ns():
            buffer = Gst.Buffer.new_wrapped(self.units[self.next % len(self.units)])
            buffer.pts = buffer.dts = int(self.next * self.unit_ns) - self.start_ns
            buffer.duration = int(self.unit_ns)
            self.next += 1
            self.source.emit("push-buffer", buffer)
        return GLib.SOURCE_CONTINUE

    def stop(self):
        GLib.source_remove(self.timer)


class Factory(GstRtspServer.RTSPMediaFactory):
    """One stream, shared by all who watch it."""

    def __init__(self, file, frames_per_s, sound):
        super().__init__()
        self.file, self.frame_ns, self.sound = file, Fraction(Gst.SECOND, frames_per_s), sound
        self.set_shared(True)
        self.set_latency(0)
        self.set_protocols(GstRtsp.RTSPLowerTrans.TCP)
        caps = f"video/x-h264,stream-format=byte-stream,alignment=au,framerate={frames_per_s}/1"
        source = f"appsrc is-live=true format=time max-bytes={QUEUE_BYTES_MAX} leaky-type=downstream"
        launch = (
            f"{source} name=source caps={caps}"
            " ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 aggregate-mode=none"
        )
        if sound:
            caps = f"audio/mpeg,mpegversion=4,stream-format=adts,rate={sound.rate_hz},channels=1"
            launch += f" {source} name=microphone caps={caps} ! aacparse ! rtpmp4gpay name=pay1 pt=97"
        self.set_launch(f"( {launch} )")
        permissions = GstRtspServer.RTSPPermissions()
        for permission in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role(ROLE, permission, True)
        self.set_permissions(permissions)

    def do_configure(self, media):
        bin = media.get_element()
        first = int(time.time_ns() / self.frame_ns) + 1
        while not self.file.keys[first % len(self.file.units)]:
            first -= 1
        start_ns = int(first * self.frame_ns)
        players = [Player(bin.get_by_name_recurse_up("source"), self.file.units, self.frame_ns, first, start_ns)]
        if self.sound:
            piece_ns = Fraction(self.sound.piece_samples * Gst.SECOND, self.sound.rate_hz)
            microphone = bin.get_by_name_recurse_up("microphone")
            players.append(Player(microphone, self.sound.units, piece_ns, ceil(start_ns / piece_ns), start_ns))
        media.connect("unprepared", lambda _: [player.stop() for player in players])


def main():
    plan = json.load(sys.stdin)
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(plan["port"]))
    authority = GstRtspServer.RTSPAuth()
    authority.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", ROLE)
    authority.add_digest(plan["username"], plan["password"], token)
    server.set_auth(authority)
    for stream in plan["streams"]:
        file = File(stream["video"], stream["list"])
        sound = Sound(stream["sound"], **plan["sound"]) if stream["sound"] else None
        server.get_mount_points().add_factory("/" + stream["path"], Factory(file, stream["frames_per_s"], sound))
    if server.attach(None) == 0:
        sys.exit(f"cannot listen on port {plan['port']}")
    print("listening", flush=True)
    loop = GLib.MainLoop()
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, 15, loop.quit)
    loop.run()


if __name__ == "__main__":
    main()
