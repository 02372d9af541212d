using System.Collections.Immutable;
using System.Globalization;
using KTrace.Debugger.Sessions;
using KTrace.Symbols.Disassembly;
using KTrace.Tui.Commands;

namespace KTrace.Tui.Targets;

/// <summary>Instructions as they are in memory now, with the source lines that they belong to.</summary>
internal static class CodeListings
{
    // A function of a compiler that inlines much has some kilobytes; of a larger one the part around the address is shown.
    private const int MaximumCode = 8 << 10;
    private const int AroundBytes = 128;

    /// <summary>The function at an address, or the instructions from there on where no function is known.</summary>
    /// <param name="pc">The instruction that is marked; null: none.</param>
    /// <returns>Null where no memory can be read.</returns>
    public static async ValueTask<CodeListing?> AtAsync(DebugSession session, SourceTree sources, ulong address, ulong? pc, CancellationToken cancellationToken)
    {
        var map = session.Map;
        var range = map?.FunctionRange(address);
        var start = range is { } function ? function.End - function.Start <= MaximumCode ? function.Start : StartNear(function.Start, address) : address;
        var length = range is { } whole ? (int)Math.Min(whole.End - start, MaximumCode) : AroundBytes;
        var code = new byte[length];
        var read = await session.Machine.Memory.ReadAsync(start, code, cancellationToken);
        if (read.ReadableFromStart == 0)
        {
            return null;
        }

        var set = Breakpoints(session);
        var rows = ImmutableArray.CreateBuilder<CodeRow>();
        string? last = null;
        var entry = range?.Start ?? address;
        foreach (var instruction in Disassembler.Disassemble(session.Machine.Architecture, code.AsSpan(0, read.ReadableFromStart), start))
        {
            var source = map?.Symbolize(instruction.Address) is [var frame, ..] ? frame.Source : null;
            var line = source is null ? null : string.Create(CultureInfo.InvariantCulture, $"{source.File}:{source.Line}");
            var begins = line is not null && line != last;
            last = line ?? last;
            var target = instruction.Target is { } to && map?.NameOf(to) is { } name ? $" <{name}>" : "";
            rows.Add(new CodeRow(
                instruction.Address, $"+0x{instruction.Address - entry:x}", Convert.ToHexStringLower(instruction.Bytes.AsSpan()), instruction.Text + target, begins ? line : null,
                begins ? sources.Line(source)?.Trim() : null, instruction.Address == pc, set.TryGetValue(instruction.Address, out var number) ? number : null));
        }

        var title = map?.NameOf(entry) ?? $"0x{entry:x}";
        return new CodeListing(title, rows.ToImmutable());
    }

    /// <summary>Of a large function the instructions before an address cannot be told without decoding it from its beginning: they are left out.</summary>
    private static ulong StartNear(ulong start, ulong address) => address - start < MaximumCode / 2 ? start : address;

    private static Dictionary<ulong, int> Breakpoints(DebugSession session)
    {
        var set = new Dictionary<ulong, int>();
        foreach (var breakpoint in session.Breakpoints.All)
        {
            foreach (var address in breakpoint.Address is { } one ? [one] : breakpoint.Place?.Addresses ?? [])
            {
                set.TryAdd(address, breakpoint.Number);
            }
        }

        return set;
    }
}
