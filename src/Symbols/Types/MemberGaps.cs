// Where a structure has room that no member uses. A bit field belongs to a storage unit of its declared type's size and alignment (System V psABI, "Bit-Fields"): bits of
// the unit that are left are a hole in bits, whole bytes that alignment skips are a hole in bytes. The same two kinds that pahole tells apart.
using System.Collections.Immutable;

namespace KTrace.Symbols.Types;

/// <summary>A member with the room in front of it.</summary>
/// <param name="Offset">Bytes from the structure's start: of a bit field its storage unit.</param>
/// <param name="Bit">Of a bit field its lowest bit, from the storage unit's start.</param>
/// <param name="Size">Bytes: of a bit field its storage unit.</param>
/// <param name="BitsBefore">Unused bits of the storage unit before this member.</param>
/// <param name="BytesBefore">Unused bytes before this member.</param>
public readonly record struct PlacedMember(Member Member, long Offset, long Bit, long Size, long BitsBefore, long BytesBefore)
{
    /// <summary>Of a bit field: the storage unit.</summary>
    public static (long Offset, long Size) UnitOf(Member member)
    {
        var size = Math.Max(1, member.Type.Size);
        return (member.BitOffset / (size * 8) * size, size);
    }
}

/// <summary>A structure's members in place, and what is left behind the last.</summary>
public sealed record MemberGaps(ImmutableArray<PlacedMember> Members, long PaddingBytes, long PaddingBits)
{
    /// <summary>Looks at a structure; a union's members all lie at its start and have no gaps.</summary>
    public static MemberGaps Of(StructType type)
    {
        var placed = ImmutableArray.CreateBuilder<PlacedMember>();
        // All in bits: the end of what was placed, and of the storage unit that the last bit field opened.
        long end = 0, unitEnd = 0, unitSize = 0;
        var isInUnit = false;
        foreach (var member in type.Members)
        {
            long offset = member.Offset, bit = 0, size = member.Type.Size;
            if (member.IsBitField)
            {
                (offset, size) = PlacedMember.UnitOf(member);
                bit = member.BitOffset - (offset * 8);
            }

            if (type.Kind == StructKind.Union)
            {
                placed.Add(new PlacedMember(member, offset, bit, size, 0, 0));
                continue;
            }

            long bits = 0, bytes = 0;
            var (start, at) = (member.BitOffset, end);
            if (isInUnit)
            {
                var stop = Math.Min(start, unitEnd);
                bits = stop - at;
                at = stop;
            }

            if (member.IsBitField)
            {
                if (at < offset * 8 && offset * 8 <= start)
                {
                    bytes = offset - (at / 8);
                    at = offset * 8;
                }

                bits += start - at;
                end = start + member.BitSize;
                if (end > unitEnd || !isInUnit || size > unitSize)
                {
                    // A packed field may reach over the unit that it begins in.
                    unitSize = size;
                    unitEnd = ((offset + size) * 8) + (end > (offset + size) * 8 ? size * 8 : 0);
                }
            }
            else
            {
                bytes = (start / 8) - (at / 8);
                end = start + (size * 8);
            }

            isInUnit = member.IsBitField;
            placed.Add(new PlacedMember(member, offset, bit, size, Math.Max(0, bits), Math.Max(0, bytes)));
        }

        long paddingBits = 0;
        if (isInUnit)
        {
            var stop = Math.Min(type.Size * 8, unitEnd);
            paddingBits = Math.Max(0, stop - end);
            end = Math.Max(end, stop);
        }

        var padding = type.Kind == StructKind.Union ? 0 : Math.Max(0, type.Size - (end / 8));
        return new MemberGaps(placed.ToImmutable(), padding, paddingBits);
    }
}
