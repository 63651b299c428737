// The entry point of the fuzzer. The result for an input must not depend on where it is cut.

/// The result of parsing an input.
private struct Outcome: Equatable {
    var requests: [[[UInt8]]] = []
    var error: ProtocolError?

    init(_ input: UnsafeRawBufferPointer, pieces: Int) {
        var limits = RequestParser.Limits()
        // Small inputs must reach these limits.
        limits.lineBytes = 48
        limits.bulkBytes = 128
        var parser = RequestParser(limits: limits)
        var (start, end) = (0, 0)
        while end < input.count {
            end = min(input.count, end + pieces)
            parsing: while true {
                let bytes = UnsafeRawBufferPointer(rebasing: input[start..<end])
                switch parser.parse(bytes) {
                case .incomplete: break parsing
                case .failed(let error):
                    self.error = error
                    return
                case .request(let count):
                    precondition(count > 0 && count <= bytes.count, "a request of \(count) bytes")
                    requests.append(
                        parser.withRequest(in: bytes) { request in
                            (0..<request.count).map { [UInt8](request[$0]) }
                        })
                    start += count
                }
            }
        }
    }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = UnsafeRawBufferPointer(start: start, count: count)
    let whole = Outcome(input, pieces: max(1, count))
    precondition(whole == Outcome(input, pieces: 1), "byte by byte it differs")
    precondition(whole == Outcome(input, pieces: 7), "in pieces it differs")
    return 0
}
