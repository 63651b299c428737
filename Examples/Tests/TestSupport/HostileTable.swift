/// The table that `make hostile` prints.
import Glibc

/// Adds lines to the file that MILLRACE_HOSTILE_TABLE names; does nothing without it.
public func addToHostileTable(_ lines: String) throws {
    guard let path = getenv("MILLRACE_HOSTILE_TABLE") else { return }
    guard let file = fopen(path, "a") else {
        throw Failure("\(String(cString: path)): \(errno)")
    }
    fputs(lines + "\n", file)
    fclose(file)
}
