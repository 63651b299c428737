/// The facts about a client that CLIENT LIST reports to other clients, on any thread.
// The variables are accessed only under the lock.
public final class Profile: @unchecked Sendable {
    private let peer: String
    private let local: String
    private let opened = Clock.milliseconds()
    private let lock = Lock()
    private var name: [UInt8] = []
    private var version = 2
    private var channels = 0
    private var patterns = 0

    /// Creates a profile with both addresses, as HOST:PORT or as the path of a Unix socket.
    public init(peer: String = "", local: String = "") {
        self.peer = peer
        self.local = local
    }

    func set(version: Int) { lock.alone { self.version = version } }

    func set(name: [UInt8]) { lock.alone { self.name = name } }

    func set(channels: Int, patterns: Int) {
        lock.alone { (self.channels, self.patterns) = (channels, patterns) }
    }

    /// Whether the client has subscriptions, and so receives messages.
    var isSubscriber: Bool { lock.alone { channels + patterns > 0 } }

    /// Returns a line with Redis's fields. Fields that this server does not count are zero.
    func line(id: Int, _ now: Int, command: String) -> String {
        let (name, channels, patterns, version) = lock.alone {
            (self.name, self.channels, self.patterns, self.version)
        }
        let flags = channels + patterns > 0 ? "P" : "N"
        return "id=\(id) addr=\(peer) laddr=\(local) fd=0 "
            + "name=\(String(decoding: name, as: UTF8.self)) age=\(max(0, now - opened) / 1000) "
            + "idle=0 flags=\(flags) db=0 sub=\(channels) psub=\(patterns) ssub=0 multi=-1 qbuf=0 "
            + "qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 "
            + "events=r cmd=\(command) user=default redir=-1 resp=\(version)\n"
    }
}
