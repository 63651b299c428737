// The events of the room that one loop has not written yet.
import NetAPI

struct EventQueue {
    /// The most writes of one closure, some milliseconds of the loop's time.
    private static let writes = 32_768

    let audience: Audience
    private let loop: LoopHandle
    private var events: [RoomEvent] = []
    private(set) var bytes = 0
    private(set) var members = 0
    /// Whether the loop's mailbox has the closure that writes the events. There is one at most, so
    /// the room never fills the mailbox.
    private var isPosted = false

    init(_ audience: Audience, on loop: LoopHandle) {
        self.audience = audience
        self.loop = loop
    }

    mutating func add(_ connection: Connection, _ id: Int) {
        members += 1
        audience.add(id, connection)
    }

    /// Called on the loop of the member.
    mutating func remove(_ id: Int) {
        members -= 1
        audience.remove(id)
        if members == 0 { clear() }
    }

    /// Adds an event for the members of the loop, and posts `write` if no closure is waiting.
    mutating func append(_ event: RoomEvent, _ write: @escaping @Sendable () -> Void) {
        guard members > 0 else { return }
        events.append(event)
        bytes += event.frame.count
        post(write)
    }

    /// Returns the first events, of at most `most` bytes unless one event alone is longer. Posts
    /// `write` again if events are left: it runs in another turn, after these have been sent.
    mutating func take(
        atMost most: Int, _ write: @escaping @Sendable () -> Void
    ) -> [RoomEvent] {
        isPosted = false
        let places = max(1, Self.writes / max(1, members))
        var (count, sum) = (0, 0)
        for event in events.prefix(places) {
            guard count == 0 || sum + event.frame.count <= most else { break }
            sum += event.frame.count
            count += 1
        }
        let taken = Array(events[..<count])
        events.removeFirst(count)
        bytes -= sum
        if !events.isEmpty { post(write) }
        return taken
    }

    private mutating func post(_ write: @escaping @Sendable () -> Void) {
        guard !isPosted else { return }
        // A refusal means that the loop has ended, and its connections with it.
        isPosted = loop.execute { _ in write() }
        if !isPosted { clear() }
    }

    private mutating func clear() {
        events = []
        bytes = 0
    }
}
