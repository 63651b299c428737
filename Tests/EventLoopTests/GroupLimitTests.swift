/// Tests of the connection limit that all loops of a group share.
import Testing

@testable import MillraceEventLoop

@Suite struct GroupLimitTests {
    private func group(limit: Int) -> LoopGroup {
        var configuration = LoopGroup.Configuration()
        configuration.connectionLimit = limit
        return LoopGroup(
            configuration,
            LoopGroup.Parts(
                sockets: KernelSockets(), makeDriver: { throw SystemError(0, "unused") },
                makeDelegate: { _ in AcceptorDelegate() }, report: { _ in }))
    }

    @Test("a parked connection gets free room before a newly accepted connection")
    func whoIsParkedGoesFirst() {
        let group = group(limit: 2)
        #expect(group.takeRoom() && group.takeRoom())
        #expect(!group.takeRoom())
        group.connectionParked()
        #expect(!group.takeRoomForParked())
        group.connectionClosed()
        // The room is reserved for the parked connection.
        #expect(!group.hasRoom)
        #expect(!group.takeRoom())
        #expect(group.takeRoomForParked())
        #expect(!group.takeRoom())
        group.connectionClosed()
        #expect(group.hasRoom)
        #expect(group.takeRoom())
    }

    @Test("a parked connection that is served regardless of the limit reserves no room afterwards")
    func whoWasParkedAndIsServedInAnyCaseKeepsNoRoom() {
        let group = group(limit: 1)
        #expect(group.takeRoom())
        group.connectionParked()
        group.parkedConnectionAdded()
        group.connectionClosed()
        #expect(!group.hasRoom)
        group.connectionClosed()
        #expect(group.hasRoom)
        #expect(group.takeRoom())
    }
}
