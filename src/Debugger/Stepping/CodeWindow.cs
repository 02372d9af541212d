using KTrace.Symbols.Arch;
using KTrace.Symbols.Disassembly;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Stepping;

/// <summary>
/// The guest's code as it is in memory now, which is not what the file has: alternatives, static calls and the tracer's nops are patched. Read in pieces, and read again
/// whenever other CPUs or more than one instruction ran.
/// </summary>
internal sealed class CodeWindow(Machine machine) : IDisposable
{
    // A request costs more than its bytes; a piece of this size never crosses a page.
    private const int PieceSize = 256;
    private const int MaximumPieces = 64;
    private const ulong LongModeActive = 1UL << 10;
    private const ulong ProtectedMode = 1;
    private const ulong User32 = 0x23;

    private readonly Dictionary<ulong, byte[]?> _pieces = [];
    private readonly Dictionary<int, FlowDecoder> _decoders = [];

    /// <summary>Code may have changed.</summary>
    public void Forget() => _pieces.Clear();

    /// <summary>What the instruction at an address does to control flow; null where it cannot be read, or is none that is known.</summary>
    public async ValueTask<InstructionFlow?> DecodeAsync(int cpu, RegisterSet registers, ulong address, CancellationToken cancellationToken)
    {
        var code = await ReadAsync(cpu, address, cancellationToken);
        return DecoderFor(registers).TryDecode(code.Span, address, out var flow) ? flow : null;
    }

    public void Dispose()
    {
        foreach (var decoder in _decoders.Values)
        {
            decoder.Dispose();
        }

        _decoders.Clear();
    }

    /// <summary>Up to the longest instruction's bytes; fewer where a page is not there.</summary>
    private async ValueTask<ReadOnlyMemory<byte>> ReadAsync(int cpu, ulong address, CancellationToken cancellationToken)
    {
        var start = address & ~(ulong)(PieceSize - 1);
        var offset = (int)(address - start);
        if (await PieceAsync(cpu, start, cancellationToken) is not { } first)
        {
            return default;
        }

        if (offset + FlowDecoder.MaximumLength <= PieceSize || await PieceAsync(cpu, start + PieceSize, cancellationToken) is not { } second)
        {
            return first.AsMemory(offset);
        }

        return (byte[])[.. first.AsSpan(offset), .. second.AsSpan(0, FlowDecoder.MaximumLength)];
    }

    private async ValueTask<byte[]?> PieceAsync(int cpu, ulong start, CancellationToken cancellationToken)
    {
        if (_pieces.TryGetValue(start, out var known))
        {
            return known;
        }

        if (_pieces.Count >= MaximumPieces)
        {
            _pieces.Clear();
        }

        await machine.SelectAsync(cpu, cancellationToken);
        var piece = new byte[PieceSize];
        return _pieces[start] = await machine.Memory.TryReadAsync(start, piece, cancellationToken) ? piece : null;
    }

    /// <summary>Intel SDM volume 3, section 2.2: EFER.LMA for 64 bits (a 32-bit program runs in it too), CR0.PE for 32. 16-bit protected mode is not told by any register that stubs send.</summary>
    private FlowDecoder DecoderFor(RegisterSet registers)
    {
        var architecture = machine.Architecture;
        var (cr0, isWide) = architecture is X86_64 ? (X86_64.Cr0, true) : (I386.Cr0, false);
        var bits = !registers.IsKnown(cr0) ? architecture.WordSize * 8
            : (registers[cr0] & ProtectedMode) == 0 ? 16
            : isWide && (!registers.IsKnown(X86_64.Efer) || (registers[X86_64.Efer] & LongModeActive) != 0) && registers[X86_64.Cs] != User32 ? 64
            : 32;
        if (!_decoders.TryGetValue(bits, out var decoder))
        {
            _decoders[bits] = decoder = new FlowDecoder(architecture, bits);
        }

        return decoder;
    }
}
