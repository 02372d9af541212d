// Call paths as gdb's `bt` prints them, for people and scripts that know that form (gdb 13.1: print_frame in gdb/stack.c).
// gdb gives an address to the first line of each physical frame (and of each that was left by a tail call: behind its jump), and none to the functions around it that were inlined there; none to frame 0
// either, as a tracepoint stops at the beginning of a line. Arguments are written as KTrace shows them, which is gdb's way for numbers and text.
// Where gdb goes on into user space as if it were kernel stack, this says why the path ends.
using System.Globalization;

namespace KTrace.Tracing.Export;

/// <summary>Writes hits in gdb's form.</summary>
public static class GdbExport
{
    /// <summary>The lines of one hit, <c>=== hit 12 …</c> first.</summary>
    /// <param name="hit">The hit.</param>
    /// <param name="header">Tells how wide addresses are.</param>
    /// <param name="tracepoints">The trace's tracepoints.</param>
    public static IEnumerable<string> Lines(TraceRecord.Hit hit, TraceRecord.Header header, TracepointTable tracepoints)
    {
        string task = hit.Task is null ? "" : $", {hit.Task}";
        yield return string.Create(
            CultureInfo.InvariantCulture, $"=== hit {hit.Sequence}: {tracepoints.Name(hit.Tracepoint)}, cpu {hit.Cpu}{task}");
        string addressFormat = Symbols.Arch.Architecture.ForName(header.Arch)?.WordSize == 4 ? "x8" : "x16";
        int number = 0;
        foreach ((TraceFrame frame, ulong? pc) in hit.FramesWithAddresses())
        {
            string address = number > 0 && pc is { } value ? $"0x{value.ToString(addressFormat, CultureInfo.InvariantCulture)} in " : "";
            string place = frame switch
            {
                { File: { } file, Line: { } line } => string.Create(CultureInfo.InvariantCulture, $" at {file}:{line}"),
                { Module: { } module } => $" from {module}.ko",
                _ => "",
            };
            yield return string.Create(CultureInfo.InvariantCulture, $"#{number,-3}{address}{frame.Function} ({Arguments(hit.ArgumentsOf(number))}){place}");
            number++;
        }

        yield return $"Backtrace stopped: {hit.PathEnd.Describe(hit.Task)}";
    }

    private static string Arguments(ArgumentList arguments) => string.Join(", ", arguments.Select(a =>
        $"{a.Name}{(a is { IsAtEntry: true, IsKnown: true } ? "@entry" : "")}="
        + (a.Text ?? (a.Value is { } value ? string.Create(CultureInfo.InvariantCulture, $"0x{value:x}") : $"<{a.Provenance}>"))));
}
