"""Orders of products that the service makes on demand, so that none is ordered twice or forgotten."""

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Create orders and order_items."""
    if op.get_context().version_table_schema != "public":
        return  # orders belong to all seasons: an account has one quota, and a product is ordered once
    op.execute("""
        CREATE TABLE public.orders (
            id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            label text NOT NULL,
            service text NOT NULL,
            account text NOT NULL,
            placed_at timestamp with time zone NOT NULL DEFAULT now()
        );
        COMMENT ON TABLE public.orders IS 'what was ordered in one run of cbmctl order place';
        COMMENT ON COLUMN public.orders.label IS 'area and period, for people';
        COMMENT ON COLUMN public.orders.service IS 'URL of the order service';
        COMMENT ON COLUMN public.orders.account IS 'user of the order service';

        CREATE TABLE public.order_items (
            id uuid PRIMARY KEY,
            order_id integer NOT NULL REFERENCES public.orders,
            product_type text NOT NULL,
            card text NOT NULL,
            sensor text NOT NULL,
            sensed timestamp without time zone NOT NULL,
            input text NOT NULL,
            earlier text,
            workflow text NOT NULL,
            state text NOT NULL CHECK (state IN ('sending', 'unknown', 'queued', 'in_progress', 'completed',
                'failed', 'cancelled', 'refused', 'unsent')),
            service_id text,
            code text,
            message text,
            sent_at timestamp with time zone NOT NULL DEFAULT now(),
            changed_at timestamp with time zone NOT NULL DEFAULT now(),
            cancel_asked_at timestamp with time zone,
            CHECK (state NOT IN ('queued', 'in_progress', 'completed', 'failed', 'cancelled')
                OR service_id IS NOT NULL)
        );
        CREATE INDEX order_items_order_idx ON public.order_items (order_id);
        CREATE INDEX order_items_scene_idx ON public.order_items (card, sensor, sensed);
        CREATE UNIQUE INDEX order_items_once_idx ON public.order_items (product_type, input)
            WHERE state IN ('sending', 'unknown', 'queued', 'in_progress', 'completed');
        COMMENT ON TABLE public.order_items IS
            'one product of an order each; a product is on order at most once (order_items_once_idx)';
        COMMENT ON COLUMN public.order_items.id IS 'is part of the name that the order has at the service';
        COMMENT ON COLUMN public.order_items.sensed IS
            'start of sensing, UTC: dias_catalogue.obstime of the product';
        COMMENT ON COLUMN public.order_items.input IS 'Level-1 product of which the service makes it';
        COMMENT ON COLUMN public.order_items.earlier IS
            'for coherence, the Level-1 product that the service is expected to pair with the input';
        COMMENT ON COLUMN public.order_items.state IS
            'sending: written before the order is sent; unknown: it may be accepted; queued, in_progress,'
            ' completed, failed, cancelled: as the service says; refused: by the service; unsent: the service'
            ' was not reached';
        COMMENT ON COLUMN public.order_items.service_id IS 'of the production order at the service';
        COMMENT ON COLUMN public.order_items.code IS 'why it is in this state, for programs';
        COMMENT ON COLUMN public.order_items.message IS 'the same for people, in the words of the service';
    """)
