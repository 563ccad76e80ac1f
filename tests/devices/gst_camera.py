#!/usr/bin/python3
"""The demo's cameras: GStreamer's own RTSP server, playing files of access units again and again, without encoding.

Reads one JSON document from standard input: {"port", "username", "password", "streams": [{"path", "video", "list",
"frames_per_s"}]}, says "listening" when it does, and ends when it is told to. A stream that nobody watches costs nothing.
"""

import json
import sys
import time

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


class Player:
    """Feeds one pipeline by the wall clock, from a keyframe on, until it is torn down."""

    def __init__(self, file, frames_per_s, source):
        self.file, self.frames_per_s, self.source = file, frames_per_s, source
        self.next = self.unit_now() + 1
        while not file.keys[self.next % len(file.units)]:
            self.next -= 1
        self.first = self.next
        self.timer = GLib.timeout_add(TICK_MS, self.tick)

    def unit_now(self):
        return int(time.time() * self.frames_per_s)

    def tick(self):
        while self.next <= self.unit_now():
            buffer = Gst.Buffer.new_wrapped(self.file.units[self.next % len(self.file.units)])
            buffer.pts = buffer.dts = (self.next - self.first) * Gst.SECOND // self.frames_per_s
            buffer.duration = Gst.SECOND // self.frames_per_s
            self.next += 1
            self.source.emit("push-buffer", buffer)
        return GLib.SOURCE_CONTINUE

    def stop(self):
        GLib.source_remove(self.timer)


class Factory(GstRtspServer.RTSPMediaFactory):
    """One stream, shared by all who watch it."""

    def __init__(self, file, frames_per_s):
        super().__init__()
        self.file, self.frames_per_s = file, frames_per_s
        self.set_shared(True)
        self.set_latency(0)
        self.set_protocols(GstRtsp.RTSPLowerTrans.TCP)
        caps = f"video/x-h264,stream-format=byte-stream,alignment=au,framerate={frames_per_s}/1"
        self.set_launch(
            f"( appsrc name=source is-live=true format=time caps={caps} max-bytes={QUEUE_BYTES_MAX} leaky-type=downstream"
            " ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 aggregate-mode=none )"
        )
        permissions = GstRtspServer.RTSPPermissions()
        for permission in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role(ROLE, permission, True)
        self.set_permissions(permissions)

    def do_configure(self, media):
        source = media.get_element().get_by_name_recurse_up("source")
        player = Player(self.file, self.frames_per_s, source)
        media.connect("unprepared", lambda _: player.stop())


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
        server.get_mount_points().add_factory("/" + stream["path"], Factory(file, stream["frames_per_s"]))
    if server.attach(None) == 0:
        sys.exit(f"cannot listen on port {plan['port']}")
    print("listening", flush=True)
    loop = GLib.MainLoop()
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, 15, loop.quit)
    loop.run()


if __name__ == "__main__":
    main()
