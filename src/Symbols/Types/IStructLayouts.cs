namespace KTrace.Symbols.Types;

/// <summary>Where a member lies in its structure.</summary>
/// <param name="ByteOffset">From the structure's start; for a bit field the byte that holds its lowest bit.</param>
/// <param name="Size">Bytes; of an array all of it; of a bit field the bytes that its bits touch.</param>
/// <param name="BitOffset">Lowest bit of a bit field inside the byte at <paramref name="ByteOffset"/> (little-endian); 0 otherwise.</param>
/// <param name="BitSize">Bits of a bit field; 0 for everything else.</param>
/// <param name="ElementSize">Bytes of one element of an array (of its outermost dimension); 0 for everything else.</param>
public readonly record struct MemberLocation(int ByteOffset, int Size, int BitOffset, int BitSize, int ElementSize)
{
    public bool IsBitField => BitSize != 0;

    /// <summary>Elements of an array; 0 for everything else, and for flexible array members.</summary>
    public int ElementCount => ElementSize == 0 ? 0 : Size / ElementSize;
}

/// <summary>Structure layouts of a kernel or module, from BTF or from DWARF.</summary>
public interface IStructLayouts
{
    /// <summary>
    /// Finds a member. The path goes through embedded structures and array elements (<c>core_layout.base</c>, <c>attrs[2].address</c>), and through
    /// anonymous structures and unions without naming them; not through pointers. False when there is no such structure or member.
    /// </summary>
    /// <param name="structName">Without "struct" (<c>task_struct</c>). A union's or a typedef's name does as well.</param>
    bool TryFindMember(string structName, string memberPath, out MemberLocation location);

    /// <summary>sizeof, in bytes.</summary>
    bool TryGetSize(string structName, out int size);
}
