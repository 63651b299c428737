import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// The listeners of a group on a machine that supports less than requested.
@Suite struct ListenTests {
    private static let everyV6 = SocketAddress.v6(IPv6Bytes(high: 0, low: 0), port: 0, scope: 0)

    private func listen(
        _ address: ListenAddress, loops: Int = 1
    ) throws(ListenFailure) -> Listeners {
        let network = SimulatedNetwork(seed: 1)
        network.hasV6 = false
        var configuration = LoopGroup.Configuration()
        configuration.loops = loops
        configuration.reusePort = true
        let group = LoopGroup(
            configuration,
            LoopGroup.Parts(
                sockets: SimulatedSockets(network: network), makeDriver: { ScriptedDriver() },
                makeDelegate: { _ in RecordingDelegate() }, report: { _ in }))
        return try group.listen(on: [address])
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
