// The members of the chat on all loops, and the messages to them.
import NetAPI

/// Every member gets the messages in the same order: they are handed to the loops under the lock,
/// and a loop keeps the order in which it gets them.
final class Room: Sendable {
    private struct Member {
        let id: Int
        let name: String
        let handle: ConnectionHandle
    }

    private struct State {
        var members: [Member] = []
        var lastID = 0
        var messages = 0
    }

    private let state = Guarded(State())
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    /// The numbers of members now and of messages since the start.
    var counts: (members: Int, messages: Int) {
        state.alone { ($0.members.count, $0.messages) }
    }

    /// Adds a member and announces it, also to itself. Returns its number; nil if the room is full.
    func join(_ name: String, _ handle: ConnectionHandle) -> Int? {
        state.alone { state in
            guard state.members.count < limit else { return nil }
            state.lastID += 1
            state.members.append(Member(id: state.lastID, name: name, handle: handle))
            Self.send(ChatEvent.joined(name), to: state.members)
            return state.lastID
        }
    }

    /// Removes a member and announces that to the others.
    func leave(_ id: Int) {
        state.alone { state in
            guard let place = state.members.firstIndex(where: { $0.id == id }) else { return }
            let member = state.members.remove(at: place)
            Self.send(ChatEvent.left(member.name), to: state.members)
        }
    }

    /// Sends a member's message to all members.
    func say(_ text: String, by id: Int) {
        state.alone { state in
            guard let member = state.members.first(where: { $0.id == id }) else { return }
            state.messages += 1
            Self.send(ChatEvent.message(text, from: member.name), to: state.members)
        }
    }

    /// Hands one frame to the loops of all members. They share its array, and each loop copies it
    /// into the connection's output. A member that reads too slowly is reset by the library at its
    /// limit of unsent bytes, so the others do not wait for it.
    private static func send(_ frame: [UInt8], to members: [Member]) {
        for member in members where !member.handle.write(frame) {
            // The loop's mailbox is full. A message that is lost without notice would be worse.
            member.handle.abort()
        }
    }
}
