import Glibc
import MillraceSimulation
import Testing

@testable import MillraceEventLoop

/// The listeners of a group on a machine that supports less than requested.
@Suite struct ListenTests {
    private static let everyV6 = SocketAddress.v6(IPv6Bytes(high: 0, low: 0), port: 0, scope: 0)

    private func listen(
        _ address: ListenAddress, loops: Int = 1
    ) throws(ListenFailure) -> Listeners {
        try group(loops: loops).listen(on: [address])
    }

    private func group(loops: Int) -> LoopGroup {
        let network = SimulatedNetwork(seed: 1)
        network.hasV6 = false
        var configuration = LoopGroup.Configuration()
        configuration.loops = loops
        configuration.reusePort = true
        return LoopGroup(
            configuration,
            LoopGroup.Parts(
                sockets: SimulatedSockets(network: network), makeDriver: { ScriptedDriver() },
                makeDelegate: { _ in RecordingDelegate() }, report: { _ in }))
    }

    /// With `reusePort` the kernel would let both be bound.
    @Test("two names of one address are refused, with the second's index", arguments: [1, 2])
    func twoNames(loops: Int) throws {
        let here = SocketAddress.v4(IPv4Bytes(1), port: 9000)
        let elsewhere = SocketAddress.v4(IPv4Bytes(1), port: 9001)
        let group = group(loops: loops)
        let error = #expect(throws: ListenFailure.self) {
            try group.listen(on: [here, elsewhere, here].map { ListenAddress($0) })
        }
        #expect(error?.address == 2 && error?.error == SystemError(EADDRINUSE, "bind"))
        // The failure has released all.
        let listeners = try group.listen(on: [here, elsewhere].map { ListenAddress($0) })
        #expect(listeners.perLoop.joined().count == 2 * loops)
    }

    /// Two threads may have checked the address at the same moment.
    @Test("an address is not added twice, until its end has begun", arguments: [1, 2])
    func addedTwice(loops: Int) throws {
        let group = group(loops: loops)
        let stepped = try group.startStepped(try group.listen(on: []))
        let address = ListenAddress(.v4(IPv4Bytes(1), port: 9000))
        let first = try group.listen(alsoOn: address)
        let chosen = try group.listen(alsoOn: ListenAddress(.v4(IPv4Bytes(1), port: 0)))
        for taken in [first, chosen] {
            #expect(throws: SystemError(EADDRINUSE, "bind")) {
                try group.listen(alsoOn: ListenAddress(taken.address))
            }
        }
        group.stopListening([first.place]) {}
        let again = try group.listen(alsoOn: address)
        #expect(again.place != first.place)
        withExtendedLifetime(stepped) {}
    }

    @Test("an address beyond the number of listeners that a loop can have is refused")
    func tooMany() throws {
        let group = group(loops: 1)
        let stepped = try group.startStepped(try group.listen(on: []))
        let address = ListenAddress(.v4(IPv4Bytes(1), port: 0))
        let first = try group.listen(alsoOn: address)
        group.handedOut.withLock { open in while open.begin() != nil {} }
        #expect(throws: SystemError(EOVERFLOW, "listen")) { try group.listen(alsoOn: address) }
        group.handedOut.withLock { $0.giveUp(first.place + 1) }
        let last = try group.listen(alsoOn: address)
        #expect(last.place == 65_536)
        withExtendedLifetime(stepped) {}
    }

    @Test("without IPv6 every address is every one of IPv4, for each loop", arguments: [1, 2])
    func everyAddress(loops: Int) throws {
        for isDatagram in [false, true] {
            let wanted = ListenAddress(Self.everyV6, isDatagram: isDatagram, isAnyHost: true)
            let listeners = try listen(wanted, loops: loops)
            let addresses = listeners.perLoop.joined().map(\.bound.address)
            #expect(addresses.count == loops && Set(addresses).count == 1)
            guard case .v4(IPv4Bytes(0), let port)? = listeners.addresses.first else {
                Issue.record("\(listeners.addresses)")
                continue
            }
            #expect(port != 0)
        }
    }

    @Test("an address of IPv6 that was asked for is refused")
    func askedFor() throws {
        let error = #expect(throws: ListenFailure.self) {
            try listen(ListenAddress(Self.everyV6))
        }
        #expect(error?.error == SystemError(EAFNOSUPPORT, "socket"))
    }
}
