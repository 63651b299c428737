/// The listeners of a group: which descriptors it will close, and the waits for an address's end.
import Testing

@testable import MillraceEventLoop

@Suite struct OpenListenersTests {
    /// The tests' own form of the methods, since an expectation cannot change its value.
    private final class Box {
        var open = OpenListeners()

        func end(_ place: Int) -> Bool { open.end(place) {} }
        func remove(_ listener: BoundListener) -> Bool { open.remove(listener) }
        func closed(_ listener: BoundListener) -> Int { open.closed(listener).count }
        func reserve(_ descriptor: CInt) -> Bool { open.reserve(Descriptor(descriptor)) }
        func begin() -> Int? { open.begin() }
        func claim(_ port: UInt16, _ place: Int) -> Bool {
            open.claim(.v4(IPv4Bytes(1), port: port), for: place)
        }
    }

    private func listener(
        _ descriptor: CInt, place: Int, isDatagram: Bool = false
    ) -> BoundListener {
        var bound = BoundListener(
            descriptor: Descriptor(descriptor), address: .v4(IPv4Bytes(1), port: 1),
            isDatagram: isDatagram)
        bound.place = place
        return bound
    }

    @Test("the wait for an address ends with its last socket, and only once")
    func waits() {
        let box = Box()
        let sockets = [listener(5, place: 0), listener(6, place: 0)]
        for socket in sockets { box.open.add(socket) }
        box.open.add(listener(7, place: 1))
        #expect(box.end(0))
        #expect(box.open.isEnding(0) && !box.open.isEnding(1))
        for socket in sockets { #expect(box.remove(socket)) }
        #expect(box.closed(sockets[0]) == 0)
        #expect(box.closed(sockets[1]) == 1)
        #expect(box.closed(sockets[1]) == 0)
        #expect(!box.end(0) && !box.open.isEnding(0))
    }

    @Test("a descriptor is taken once, until it is closed")
    func reserves() {
        let box = Box()
        #expect(box.reserve(5))
        #expect(!box.reserve(5))
        let first = listener(5, place: 0)
        box.open.add(first)
        box.open.release(Descriptor(5))
        #expect(!box.reserve(5), "its listener holds it")
        #expect(box.remove(first))
        #expect(!box.reserve(5), "it is not closed yet")
        _ = box.closed(first)
        #expect(box.reserve(5))
    }

    /// The kernel may give the number of a closed socket away before its close is reported.
    @Test("a number that is another listener's by now is that listener's")
    func reusedNumbers() {
        let box = Box()
        let (old, new) = (listener(5, place: 0), listener(5, place: 1))
        box.open.add(old)
        #expect(box.remove(old))
        box.open.add(new)
        #expect(!box.remove(old))
        box.open.markHandedOut(old)
        _ = box.closed(old)
        #expect(!box.reserve(5))
        #expect(box.open.listeners(1).count == 1)
        // Never handed out: its path may be removed.
        #expect(box.remove(new))
    }

    @Test("an address has one owner, until that ends or gets no socket")
    func claims() throws {
        let box = Box()
        let (first, second) = (try #require(box.begin()), try #require(box.begin()))
        #expect(first != second)
        #expect(box.claim(80, first) && box.claim(80, first))
        #expect(!box.claim(80, second))
        // The host's next address, since the first could not be bound.
        #expect(box.claim(81, first) && box.claim(80, second))
        box.open.giveUp(second)
        let third = try #require(box.begin())
        #expect(box.claim(80, third))
        let socket = listener(5, place: third)
        box.open.add(socket)
        box.open.giveUp(third)
        let fourth = try #require(box.begin())
        #expect(!box.claim(80, fourth), "it has a socket, so it was not given up")
        #expect(box.end(third))
        #expect(box.claim(80, fourth), "it ends")
        #expect(box.remove(socket))
        #expect(box.closed(socket) == 1)
        #expect(!box.claim(80, first), "the later owner stays")
    }

    @Test("there are at most 65,536 addresses at once, since a listener's number has 16 bits")
    func mostAddresses() {
        let box = Box()
        for place in 0..<65_536 { #expect(box.begin() == place) }
        #expect(box.begin() == nil)
        let (stream, datagrams) = (
            listener(5, place: 0), listener(6, place: 1, isDatagram: true)
        )
        for socket in [stream, datagrams] { box.open.add(socket) }
        _ = box.closed(stream)
        #expect(box.begin() == 65_536)
        #expect(box.begin() == nil)
        // The number of a datagram socket is not used again.
        _ = box.closed(datagrams)
        #expect(box.begin() == nil)
    }
}
