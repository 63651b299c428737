/// Tests of the library beside Foundation: the core does not import it, but its `Data` goes in and
/// out without detours, and no call is ambiguous.
import Foundation
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct FoundationTests {
    @Test("Data and other collections are written and read", arguments: Setup.all)
    func data(_ setup: Setup) throws {
        let seen = Shared(Data())
        let handler = TestHandler(traffic: { connection in
            let input = Data(copying: connection.next())
            seen.update { $0.append(input) }
            connection.write(input)
            connection.write([])
            connection.write(input[1...])
            connection.write("é".utf8)
            connection.write(ArraySlice([1, 2, 3])[1...])
            connection.write(AnyCollection([9]))
            connection.write([[4], [5]])
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send([7, 8])
            #expect(try client.receive(exactly: 10) == [7, 8, 8, 0xC3, 0xA9, 2, 3, 9, 4, 5])
        }
        #expect(seen.value == Data([7, 8]))
    }

    @Test("the result of an offload is written without a type", arguments: Setup.all)
    func offloads(_ setup: Setup) throws {
        @Sendable func query() throws -> String { "a row" }
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.offload {
                let row = try query()
                return row
            } then: { connection, row in
                connection.write(row)
            }
            connection.offload {
                Data([33])
            } then: {
                $0.write($1)
            }
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("x")
            #expect(try client.receiveText(exactly: 6) == "a row!")
        }
    }
}
