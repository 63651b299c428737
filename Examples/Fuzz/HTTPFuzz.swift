// The entry point of the fuzzer. An input must give the same result whole, byte by byte and in two
// pieces. Scripts/fuzz builds this file and the codec into one module.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    // The limits are small, so that the fuzzer reaches them.
    var limits = RequestLimits()
    limits.requestLine = 100
    limits.field = 60
    limits.fields = 6
    limits.head = 250
    limits.body = 300
    let whole = Transcript.of(bytes, limits: limits)
    let middle = count == 0 ? 0 : Int(bytes[0]) % count
    precondition(whole == Transcript.of(bytes, cuts: [middle], limits: limits), "in two pieces")
    let singly = Transcript.of(bytes, cuts: Array(bytes.indices), limits: limits)
    precondition(whole == singly, "byte by byte")
    bytes.withUnsafeBytes { raw in
        if let seconds = HTTPDate.parse(raw, now: 0) { precondition(seconds > -70_000_000_000) }
        if case .part(let range) = ByteRange(raw, size: 10) {
            precondition(!range.isEmpty && range.upperBound <= 10)
        }
        for (place, name) in (FilePath.names(in: raw) ?? []).enumerated() {
            let isKnown = place == 0 && name == Array(".well-known".utf8)
            precondition(!name.isEmpty && !name.contains(0x2F))
            precondition(name[0] != 0x2E || isKnown)
        }
    }
    return 0
}
