// Frame pointers (System V psABI, figure 3.3): after "push %rbp; mov %rsp, %rbp" the caller's rbp stands at [rbp] and the return
// address behind it. In the first instructions, and at the last one, they do not hold yet or any more, so the code is looked at.
// gcc may put endbr64, a 5-byte call of __fentry__ (or the nop that replaced it) and, rarely, pushes of arguments before the push.
// Used only for objects that were built with CONFIG_FRAME_POINTER: elsewhere rbp is just a register.
using KTrace.Symbols.Arch;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Unwind;

/// <summary>Rows from frame pointers, for code about which no table says anything. Thread-safe.</summary>
public sealed class FramePointerRows : IUnwindRowSource
{
    private const int MaximumPrologue = 24;
    private const int Samples = 64;

    private readonly ElfFile _file;
    private readonly Architecture _architecture;
    private readonly Func<ulong, SymbolStart?> _symbolAt;
    private readonly Lazy<bool> _isBuiltWithThem;

    private FramePointerRows(ElfFile file, Architecture architecture, Func<ulong, SymbolStart?> symbolAt)
    {
        _file = file;
        _architecture = architecture;
        _symbolAt = symbolAt;
        _isBuiltWithThem = new Lazy<bool>(Sample);
    }

    /// <summary>Frame pointers of an object whose code is in the file; null when it has no code there.</summary>
    public static FramePointerRows? TryOpen(ElfFile file, Architecture architecture, Func<ulong, SymbolStart?> symbolAt) =>
        file.FindSection(".text") is { HasContents: true } ? new FramePointerRows(file, architecture, symbolAt) : null;

    /// <summary>The row of a function's first instruction: only the return address has been pushed.</summary>
    public static UnwindRow AtEntry(Architecture architecture) => Row(architecture, architecture.StackPointer, 1, framePointerSaved: false);

    /// <summary>The row behind one push of something that is no register.</summary>
    internal static UnwindRow BehindOnePush(Architecture architecture) => Row(architecture, architecture.StackPointer, 2, framePointerSaved: false);

    /// <summary>The row behind "push %rbp; mov %rsp, %rbp".</summary>
    internal static UnwindRow BehindPrologue(Architecture architecture) => Row(architecture, architecture.FramePointer, 2, framePointerSaved: true);

    public UnwindRow? FindRow(ulong address)
    {
        if (!_isBuiltWithThem.Value || _symbolAt(address) is not { } symbol)
        {
            return null;
        }

        var code = CodeAt(symbol.Start);
        var offset = (int)Math.Min(address - symbol.Start, int.MaxValue);
        if (!TryFindPush(code, _architecture, out var push))
        {
            // A leaf without a frame, or assembly: only its first instruction is sure.
            return offset == 0 ? AtEntry(_architecture) : null;
        }

        var move = push + 1;
        var moveLength = _architecture.WordSize == 8 ? 3 : 2;
        if (offset <= push)
        {
            return AtEntry(_architecture);
        }

        if (offset < move + moveLength)
        {
            return Row(_architecture, _architecture.StackPointer, 2, framePointerSaved: true);
        }

        return ByteAt(address) is 0xc3 or 0xc2
            ? AtEntry(_architecture)
            : Row(_architecture, _architecture.FramePointer, 2, framePointerSaved: true);
    }

    /// <summary>Offset of "push %rbp" when the code starts a frame ("push %rbp; mov %rsp, %rbp").</summary>
    internal static bool TryFindPush(ReadOnlySpan<byte> code, Architecture architecture, out int push)
    {
        push = 0;
        if (code.StartsWith((ReadOnlySpan<byte>)[0xf3, 0x0f, 0x1e, 0xfa]) || code.StartsWith((ReadOnlySpan<byte>)[0xf3, 0x0f, 0x1e, 0xfb]))
        {
            push = 4;
        }

        if (code.Length > push + 5 && (code[push] == 0xe8 || code[push..].StartsWith((ReadOnlySpan<byte>)[0x0f, 0x1f, 0x44, 0x00, 0x00])))
        {
            push += 5;
        }

        ReadOnlySpan<byte> wide = [0x55, 0x48, 0x89, 0xe5];
        ReadOnlySpan<byte> narrow = [0x55, 0x89, 0xe5];
        return code.Length > push && code[push..].StartsWith(architecture.WordSize == 8 ? wide : narrow);
    }

    private static UnwindRow Row(Architecture architecture, int register, int words, bool framePointerSaved)
    {
        var word = architecture.WordSize;
        var returnAddress = new SavedRegister(architecture.ProgramCounter, new RegisterRule(RegisterRuleKind.AtCfa, -word));
        return new UnwindRow(
            UnwindRule.FramePointer,
            FrameShape.Call,
            new CfaRule(CfaKind.Register, register, words * word),
            framePointerSaved
                ? [returnAddress, new SavedRegister(architecture.FramePointer, new RegisterRule(RegisterRuleKind.AtCfa, -2 * word))]
                : [returnAddress, new SavedRegister(architecture.FramePointer, new RegisterRule(RegisterRuleKind.SameValue))],
            // At its first instruction a function has changed nothing.
            KeepsCalleeSaved: !framePointerSaved);
    }

    /// <summary>Looks at functions spread over .text: nearly all have a frame where they were asked for, nearly none elsewhere.</summary>
    private bool Sample()
    {
        var text = _file.FindSection(".text")!;
        var (seen, framed) = (0, 0);
        for (var i = 1; i <= Samples; i++)
        {
            if (_symbolAt(text.Address + (text.Size / (Samples + 1) * (ulong)i)) is { } symbol)
            {
                seen++;
                framed += TryFindPush(CodeAt(symbol.Start), _architecture, out _) ? 1 : 0;
            }
        }

        return seen > 0 && framed * 2 > seen;
    }

    private ReadOnlySpan<byte> CodeAt(ulong start)
    {
        foreach (var section in _file.Sections)
        {
            if (section is { IsExecutable: true, HasContents: true } && start >= section.Address && start - section.Address < section.Size)
            {
                var data = section.Data.Span;
                var offset = (int)(start - section.Address);
                return data.Slice(offset, Math.Min(MaximumPrologue, data.Length - offset));
            }
        }

        return [];
    }

    private byte ByteAt(ulong address) => CodeAt(address) is [var first, ..] ? first : (byte)0;
}
