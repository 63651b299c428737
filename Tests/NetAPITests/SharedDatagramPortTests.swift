/// Tests of several programs on one UDP port: for multicast, and only if all of them set the
/// option.
import Glibc
import NetAPI
import Testing

@Suite struct SharedDatagramPortTests {
    @Test(
        "a datagram port is shared only when every server sets reuseAddress",
        arguments: Setup.all)
    func aPortIsSharedWhereAllSaySo(_ setup: Setup) throws {
        let options = setup.options { $0.udp.reuseAddress = true }
        try withDatagramServer(setup, options: options) { first in
            let address = first.boundAddresses[0]
            try withDatagramServer(setup, listen: address, options: options) { second in
                #expect(second.boundAddresses == first.boundAddresses)
            }
            let other = try Server(DatagramTestHandler(), listen: address, options: setup.options())
            let error = #expect(throws: NetError.self) { try other.start() }
            #expect(error?.code == .addressInUse)
        }
    }
}
