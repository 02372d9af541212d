namespace KTrace.Symbols.Types;

/// <summary>C's name spaces: tags and ordinary names do not collide.</summary>
public enum TypeTag
{
    Struct,
    Union,
    Enum,

    /// <summary>Typedefs and base types (<c>u32</c>, <c>unsigned long</c> under any of its spellings).</summary>
    Ordinary,
}

/// <summary>Where types and variables are looked up by name: one object file's BTF or DWARF, or a kernel with its modules.</summary>
public interface ITypeSource
{
    /// <summary>Bytes of a pointer: 4 or 8.</summary>
    int AddressSize { get; }

    /// <summary>A complete type of that name where there is one, an incomplete one otherwise, null when the name is not known.</summary>
    CType? FindType(TypeTag tag, string name);

    /// <summary>
    /// A global or file-scope variable, with its type; a type of void when only the symbol table knows it. <c>file.c:name</c> tells those of the same name apart.
    /// </summary>
    Variable? FindVariable(string name);

    /// <summary>A function: its entry as the address, a <see cref="FunctionType"/> as the type (void when only the symbol table knows it).</summary>
    Variable? FindFunction(string name);

    /// <summary>An enumerator of any enumeration: <c>IRQ_TYPE_EDGE_RISING</c>.</summary>
    (EnumType Type, long Value)? FindEnumerator(string name);

    /// <summary>Names of types near a name that does not exist, best first.</summary>
    IReadOnlyList<string> SuggestTypes(string name, int limit);
}

/// <summary>A variable or function with static storage.</summary>
/// <param name="Address">
/// Of one object file: at link time (for a module: where it was loaded); of a live kernel: at run time. For a per-cpu variable the address of the template, to which a CPU's
/// __per_cpu_offset is added.
/// </param>
/// <param name="IsPerCpu">It lies in .data..percpu.</param>
/// <param name="Module">The module's name, or null for the kernel itself.</param>
public sealed record Variable(string Name, CType Type, ulong Address, bool IsPerCpu = false, string? Module = null);
