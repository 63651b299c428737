// The members of the chat on all loops, and the events for them.
import NetAPI

/// Every member gets the events in the same order: they join the queue of each loop under the lock,
/// and each loop writes its queue in order, also to the member that has caused the event.
final class Room: Sendable {
    /// The answer to a name.
    enum Admission: Equatable {
        case member(Int)
        case taken
        case full
        /// Too many events wait.
        case busy
    }

    private struct Member {
        let name: String
        let place: Int
    }

    private struct State {
        var members: [Int: Member] = [:]
        var names: Set<String> = []
        var lastID = 0
        var messages = 0
        var queues: [EventQueue] = []
    }

    private let state = Guarded(State())
    private let limit: Int
    private let waitingBytes: Int
    private let bytesPerTurn: Int

    init(_ settings: ChatSettings) {
        limit = settings.members
        waitingBytes = settings.waitingBytes
        bytesPerTurn = settings.bytesPerTurn
    }

    /// The numbers of members now and of messages since the start.
    var counts: (members: Int, messages: Int) {
        state.alone { ($0.members.count, $0.messages) }
    }

    /// Adds a loop, and returns its audience. Called on that loop, once.
    func add(_ loop: Loop) -> Audience {
        state.alone { state in
            let audience = Audience(place: state.queues.count)
            state.queues.append(EventQueue(audience, on: loop.handle))
            return audience
        }
    }

    /// Adds a member and announces it, also to itself. Called on the loop of the audience.
    func join(_ name: String, _ connection: Connection, in audience: Audience) -> Admission {
        state.alone { state in
            guard !state.names.contains(name) else { return .taken }
            guard state.members.count < limit else { return .full }
            guard hasRoom(state) else { return .busy }
            state.lastID += 1
            let id = state.lastID
            state.members[id] = Member(name: name, place: audience.place)
            state.names.insert(name)
            state.queues[audience.place].add(connection, id)
            send(ChatEvent.joined(name), &state)
            return .member(id)
        }
    }

    /// Removes a member, and announces that to the others unless the server stops. Called on the
    /// member's loop.
    func leave(_ id: Int, isStop: Bool) {
        state.alone { state in
            guard let member = state.members.removeValue(forKey: id) else { return }
            state.names.remove(member.name)
            state.queues[member.place].remove(id)
            // At a stop every member leaves, and no member reads more than its close frame.
            if !isStop { send(ChatEvent.left(member.name), &state) }
        }
    }

    /// Sends a member's message to all members. Returns false if too many events wait: only the
    /// author loses its message.
    func say(_ text: String, by id: Int) -> Bool {
        state.alone { state in
            guard let member = state.members[id] else { return true }
            guard hasRoom(state) else { return false }
            state.messages += 1
            send(ChatEvent.message(text, from: member.name), &state)
            return true
        }
    }

    private func hasRoom(_ state: State) -> Bool {
        state.queues.allSatisfy { $0.bytes < waitingBytes }
    }

    /// Adds one frame to the queue of each loop. A member that reads too slowly is reset by the
    /// library at its limit of unsent bytes, so the others do not wait for it.
    private func send(_ frame: [UInt8], _ state: inout State) {
        let event = RoomEvent(frame: frame, lastID: state.lastID)
        for place in state.queues.indices {
            state.queues[place].append(event) { [self] in write(place) }
        }
    }

    /// Writes the events of a loop for which its members have room. Called on that loop.
    private func write(_ place: Int) {
        let (audience, events) = state.alone { state in
            let events = state.queues[place].take(atMost: bytesPerTurn) { [self] in write(place) }
            return (state.queues[place].audience, events)
        }
        audience.write(events)
    }
}
