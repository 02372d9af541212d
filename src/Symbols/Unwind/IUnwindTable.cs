namespace KTrace.Symbols.Unwind;

/// <summary>One source of unwind rows over the addresses of one linked (or loaded) object: CFI, ORC, frame pointers.</summary>
public interface IUnwindRowSource
{
    /// <summary>The row that covers <paramref name="address"/>, or null. Malformed entries count as "not there" for that address only.</summary>
    UnwindRow? FindRow(ulong address);
}

/// <summary>Everything the unwinder asks about code, at the addresses at which the target runs it.</summary>
public interface IUnwindTable
{
    /// <summary>Rows that cover <paramref name="address"/>, the best one first; empty when there is none. Later ones are tried when an earlier one leads nowhere.</summary>
    ReadOnlySpan<UnwindRow> FindRows(ulong address);

    /// <summary>True when the address lies in known kernel or module text, so that it can be a return address.</summary>
    bool IsText(ulong address);

    /// <summary>Name of the symbol that holds the address, or null. Used to tell why a stack ends.</summary>
    string? FunctionAt(ulong address);

    /// <summary>What is known about code outside all sections, which the kernel made while it runs; the default: nothing.</summary>
    RuntimeTextAnswer FindRuntimeText(ulong address, IMemoryReader memory) => default;
}
