using KTrace.Symbols;
using KTrace.Symbols.Unwind;

namespace KTrace.Tracing;

/// <summary>
/// One line of a recorded call path. It holds no run-time address, so that the same code gives the same frame in every boot; the
/// addresses of one hit are in <see cref="TraceRecord.Hit.Pcs"/>.
/// </summary>
/// <param name="Function">Name as the source or the symbol table has it.</param>
/// <param name="Offset">Bytes from the start of the symbol (for an inline frame: of its inlined block).</param>
/// <param name="Module">The module's name, or null for the kernel itself.</param>
/// <param name="File">Source file as the line table has it, or null.</param>
/// <param name="Line">1-based; null where no line is known.</param>
/// <param name="IsInline">The function was inlined into the next frame of the path.</param>
/// <param name="Rule">What found the frame; null for inline frames, for tail calls and where it is not known.</param>
/// <param name="IsTailCall">
/// The function left by a jump (a tail call) and has no stack frame: its address is in <see cref="TraceRecord.Hit.TailPcs"/>. Functions that were
/// inlined around the jump stand before it, as for any frame.
/// </param>
/// <param name="Symbol">
/// The symbol that <paramref name="Offset"/> counts from, where it is not called as the function: a piece or copy that the compiler made (<c>foo.cold</c>,
/// <c>foo.isra.0</c>), or a mangled name. Null otherwise.
/// </param>
public sealed record TraceFrame(
    string Function, ulong Offset, string? Module, string? File, int? Line, bool IsInline, UnwindRule? Rule = null, bool IsTailCall = false, string? Symbol = null)
{
    // Hits look their frames up in the writer's table; the same few thousand frames come again and again.
    private int _hash;

    public static TraceFrame From(Frame frame, UnwindRule? rule) => new(
        frame.Function,
        frame.Offset,
        frame.Module,
        frame.Source?.File,
        frame.Source is { Line: > 0 } source ? source.Line : null,
        frame.IsInline,
        rule,
        frame.IsTailCall,
        frame.Symbol);

    public bool Equals(TraceFrame? other) => ReferenceEquals(this, other)
        || (other is not null
            && GetHashCode() == other.GetHashCode()
            && Offset == other.Offset
            && Line == other.Line
            && IsInline == other.IsInline
            && IsTailCall == other.IsTailCall
            && Rule == other.Rule
            && Function == other.Function
            && Module == other.Module
            && Symbol == other.Symbol
            && File == other.File);

    public override int GetHashCode()
    {
        if (_hash == 0)
        {
            int hash = HashCode.Combine(Function, Offset, HashCode.Combine(Module, Symbol), File, Line, IsInline, Rule, IsTailCall);
            _hash = hash == 0 ? 1 : hash;
        }

        return _hash;
    }
}
