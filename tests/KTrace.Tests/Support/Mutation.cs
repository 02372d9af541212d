namespace KTrace.Tests.Support;

/// <summary>Seeded damage: what disks, truncated downloads and attackers do to files.</summary>
internal static class Mutation
{
    public static byte[] Apply(byte[] bytes, Random random, bool headersToo = false)
    {
        if (bytes.Length == 0)
        {
            return bytes;
        }

        for (var count = random.Next(1, 6); count > 0; count--)
        {
            var at = headersToo && random.Next(2) == 0 ? random.Next(Math.Min(64, bytes.Length)) : random.Next(bytes.Length);
            switch (random.Next(6))
            {
                case 0:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    bytes[at] = (byte)random.Next(256);
                    break;
                case 2:
                    // The largest numbers of each size.
                    Array.Fill(bytes, (byte)0xff, at, Math.Min(1 << random.Next(4), bytes.Length - at));
                    break;
                case 3:
                    Array.Fill(bytes, (byte)0, at, Math.Min(1 << random.Next(4), bytes.Length - at));
                    break;
                case 4:
                    var from = random.Next(bytes.Length);
                    var length = Math.Min(random.Next(1, 32), bytes.Length - Math.Max(at, from));
                    Array.Copy(bytes, from, bytes, at, length);
                    break;
                default:
                    if (random.Next(8) == 0 && bytes.Length > 1)
                    {
                        Array.Resize(ref bytes, random.Next(1, bytes.Length));
                    }

                    break;
            }
        }

        return bytes;
    }
}
