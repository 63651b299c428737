// The members of one loop, to which the room's events are written.
import NetAPI

// The loop's handler and the closures that the room posts to that loop use it, and nothing else.
final class Audience: @unchecked Sendable {
    /// The place of the loop in the room.
    let place: Int
    /// The numbers ascend, since a number is given out under the room's lock.
    private var members: [(id: Int, connection: Connection)] = []

    init(place: Int) { self.place = place }

    func add(_ id: Int, _ connection: Connection) { members.append((id, connection)) }

    func remove(_ id: Int) { members.removeAll { $0.id == id } }

    /// Writes each event to the members that had joined when it happened. The library sends the
    /// bytes of all events together when the closure of this call returns.
    func write(_ events: some Collection<RoomEvent>) {
        for member in members {
            for event in events where member.id <= event.lastID {
                member.connection.write(event.frame)
            }
        }
    }
}
