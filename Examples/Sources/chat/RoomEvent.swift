// A frame for all members of the room. Every loop shares its array.

struct RoomEvent {
    let frame: [UInt8]
    /// The number of the latest member at the time of the event. Later members do not get it.
    let lastID: Int
}
